//! The consumer groups of a partition's streams.

use super::{
    connection::{BrokerError, text},
    partition::Partition,
};
use crate::keys::GROUP;

impl Partition {
    /// Creates the groups that are missing, so that they see every entry there is.
    ///
    /// Idempotent; called at start and whenever the server says that a group is gone, as after it lost its memory.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn create_groups(&self) -> Result<(), BrokerError> {
        for lane in self.lane_keys() {
            let args = ["CREATE", lane, GROUP, "0", "MKSTREAM"].map(text).to_vec();
            match self.commands.call("XGROUP", args).await {
                Err(error) if !error.to_string().contains("BUSYGROUP") => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
