//! Being alone in a worker: every slot of every queue, in one hand.
//!
//! Promise: nothing of any queue runs in this process beside who is alone. Queues are gathered one after the other in an
//! order that all share, so that two who gather never wait for each other.

use std::sync::Arc;

use crate::slots::{Slot, Slots};

/// The slots of all queues of this worker.
#[derive(Clone)]
pub(crate) struct Solitude {
    queues: Arc<[Slots]>,
}

impl Solitude {
    /// Of a worker with these queues.
    pub(crate) fn new(queues: Vec<Slots>) -> Self {
        Self { queues: queues.into() }
    }

    /// Every slot there is, those of `own` in front; once the patience has ended, one of `own`. Who waits for all of them
    /// lets nobody pass, so the patience is also the longest that others wait for it.
    pub(crate) async fn alone_or_one(&self, own: &Slots, patience: impl Future<Output = ()>) -> Slot {
        tokio::select! {
            biased;
            alone = self.alone(own) => return alone,
            () = patience => {}
        }
        own.some(1).await
    }

    async fn alone(&self, own: &Slots) -> Slot {
        let (mut first, mut beside) = (None, Vec::with_capacity(self.queues.len()));
        for slots in self.queues.iter() {
            let all = slots.all().await;
            if slots.is(own) { first = Some(all) } else { beside.push(all) }
        }
        first.expect("a queue is one of its worker's").with(beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{
        FutureExt,
        future::{join_all, pending, ready},
    };
    use tokio::sync::oneshot;

    fn solitude(n_queues: usize) -> (Solitude, Vec<Slots>) {
        let queues: Vec<Slots> = (0..n_queues).map(|_| Slots::new(4)).collect();
        (Solitude::new(queues.clone()), queues)
    }

    #[tokio::test]
    async fn nothing_runs_in_any_queue_beside_who_is_alone() {
        let (solitude, queues) = solitude(3);
        let neighbour = queues[2].some(1).await;
        let turn = solitude.alone_or_one(&queues[1], pending());
        tokio::pin!(turn);
        assert!(turn.as_mut().now_or_never().is_none());
        drop(neighbour);
        let mut alone = turn.await;
        assert!(alone.is_alone() && queues.iter().all(|queue| queue.try_some(1).is_none()));
        alone.share();
        let n_free: usize = queues.iter().map(|queue| queue.try_some(9).map_or(0, |free| free.len())).sum();
        assert_eq!(n_free, 4 + 3 + 4);
    }

    #[tokio::test]
    async fn who_waits_in_vain_takes_one_slot_and_lets_the_others_pass() {
        let (solitude, queues) = solitude(2);
        let long = queues[0].some(1).await;
        let (end, ended) = oneshot::channel::<()>();
        let turn = solitude.alone_or_one(&queues[0], ended.map(drop));
        let passing = queues[0].some(2);
        tokio::pin!(turn, passing);
        assert!(turn.as_mut().now_or_never().is_none());
        assert!(passing.as_mut().now_or_never().is_none(), "it waits behind");
        end.send(()).expect("it is waited for");
        let one = turn.await;
        assert!(!one.is_alone() && one.len() == 1);
        assert_eq!(passing.await.len(), 2);
        assert!(queues[1].try_some(9).is_some_and(|free| free.len() == 4), "nothing is left held elsewhere");
        drop(long);
    }

    #[tokio::test]
    async fn a_turn_that_can_come_at_once_comes_whatever_the_patience() {
        let (solitude, queues) = solitude(2);
        assert!(solitude.alone_or_one(&queues[0], ready(())).await.is_alone());
    }

    #[tokio::test]
    async fn many_of_several_queues_have_their_turn_one_after_the_other() {
        let (solitude, queues) = solitude(2);
        let turns = (0..64).map(|n| {
            let (solitude, queues) = (solitude.clone(), queues.clone());
            async move {
                let alone = solitude.alone_or_one(&queues[n % 2], pending()).await;
                tokio::task::yield_now().await;
                assert!(alone.is_alone() && queues.iter().all(|queue| queue.try_some(1).is_none()));
            }
        });
        join_all(turns).await;
        assert!(queues.iter().all(|queue| queue.try_some(9).is_some_and(|free| free.len() == 4)));
    }
}
