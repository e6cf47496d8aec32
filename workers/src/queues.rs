//! The queues that the travel service's jobs wait in.

use engine::job::QueueName;

/// Memories: added and searched.
pub const MEMORY: QueueName = QueueName::from_static("memory");
/// Searches for places and everything else that answers a traveller's question.
pub const SEARCH: QueueName = QueueName::from_static("search");
/// Cache warming.
pub const CACHE: QueueName = QueueName::from_static("cache");
