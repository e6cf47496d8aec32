//! Sees every completion: live while it can, and in the end from the streams that keep them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use engine::{
    broker::{Address, QueueTags},
    client::{Client, ClientOptions},
    completion::Completion,
    completions::{Filter, cursors, replay_some},
    job::JobId,
    keys::Keys,
    partition::Tag,
};
use tokio::task::JoinSet;

use super::kinds::CHAOS;

type Seen = HashMap<JobId, BTreeMap<(String, u64), u32>>;

/// The subscriber; it ends when it is dropped.
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    client: Arc<Client>,
    _listening: JoinSet<()>,
}

/// Between two tries to subscribe to a server that is away.
const AGAIN: Duration = Duration::from_millis(100);

impl Witness {
    /// Subscribes.
    pub(super) async fn start(address: &Address, keys: &Keys) -> anyhow::Result<Self> {
        let options = ClientOptions::new(address.clone(), keys.clone());
        let client = Arc::new(Client::connect(options).await?);
        let seen = Arc::new(Mutex::new(Seen::new()));
        let mut listening = JoinSet::new();
        let (noted, subscribing) = (Arc::clone(&seen), Arc::clone(&client));
        let mut completions = Some(client.completions(&Filter::Queue(CHAOS)).await?);
        listening.spawn(async move {
            loop {
                while let Some(batch) = match &mut completions {
                    Some(completions) => completions.next().await,
                    None => None,
                } {
                    note(&noted, batch.completions);
                }
                tokio::time::sleep(AGAIN).await;
                completions = subscribing.completions(&Filter::Queue(CHAOS)).await.ok();
            }
        });
        Ok(Self { seen, client, _listening: listening })
    }

    /// Reads what is kept for replay too; gives how many completions each job had. Those counted again after the server
    /// lost its memory are told from repetitions by their partition and number.
    pub(super) async fn closed(&self, keys: &Keys, tags: &[Tag]) -> anyhow::Result<HashMap<JobId, usize>> {
        let queues: QueueTags = [(CHAOS, tags.to_vec())].into_iter().collect();
        for mut cursor in cursors(&queues) {
            loop {
                let some = replay_some(self.client.connection(), keys, &mut cursor).await?;
                if some.is_empty() {
                    break;
                }
                let mut seen = self.seen.lock().unwrap();
                for completion in some {
                    let place = (completion.partition, completion.seq);
                    seen.entry(completion.id).or_default().entry(place).or_insert(1);
                }
            }
        }
        let seen = self.seen.lock().unwrap();
        Ok(seen.iter().map(|(id, places)| (*id, places.values().map(|&n| n as usize).sum())).collect())
    }
}

fn note(seen: &Mutex<Seen>, completions: Vec<Completion>) {
    let mut seen = seen.lock().unwrap();
    for completion in completions {
        *seen.entry(completion.id).or_default().entry((completion.partition, completion.seq)).or_default() += 1;
    }
}
