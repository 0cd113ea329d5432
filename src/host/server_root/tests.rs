//! Real folders, hostile links, a read-only mount and accounts of this machine.
use super::*;
