//! How answers look to people: pure functions from an answer, a look and the time to text.
pub mod backups;
pub mod codeserver;
pub mod crash;
pub mod doctor;
pub mod lists;
pub mod look;
pub mod runtimes;
pub mod status;
pub mod words;
