//! What a publisher may do to an artifact folder: pure edits of its catalogs.
//!
//! [`target`] says what a name on the command line means and where it lies, [`book`] is one catalog file, [`edit`] changes
//! it, [`layout`] judges an archive by its names before it is offered to anybody, [`upstream`] reads release pages.
pub mod book;
pub mod edit;
pub mod layout;
pub mod target;
pub mod upstream;
