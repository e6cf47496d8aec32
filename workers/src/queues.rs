//! The queues of the travel service.

use engine::job::QueueName;

/// Places and memories, found on demand.
pub const SEARCH: QueueName = QueueName::from_static("search");

/// Memories, embedded and kept.
pub const MEMORY: QueueName = QueueName::from_static("memory");

/// Caches, warmed.
pub const CACHE: QueueName = QueueName::from_static("cache");

/// Probes.
pub const DIAGNOSTICS: QueueName = QueueName::from_static("diagnostics");
