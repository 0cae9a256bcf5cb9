//! Dead letters: reading a page of them, sending them round again, throwing them away.

use crate::TaskId;

/// A page of dead letters, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many to skip.
    pub offset: u64,
    /// How many to return: 1 to 1000.
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            offset: 0,
            limit: 100,
        }
    }
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All that are dead when the call begins.
    All,
    /// These; ids that are no dead letters are passed over.
    Ids(Vec<TaskId>),
}
