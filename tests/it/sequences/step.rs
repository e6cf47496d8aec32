//! What workers and producers may do next.

use engine::job::Priority;
use proptest::prelude::*;

use super::CONSUMERS;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Submit { lane: Priority },
    Delay { lane: Priority, due: bool },
    Take { by: usize, limit: usize },
    Settle { by: usize, verdicts: Vec<(prop::sample::Index, Verdict)> },
    HandBack { by: usize, which: prop::sample::Index },
    Note { by: usize, which: prop::sample::Index, alone: bool },
    Crash { who: usize },
    Beat { who: usize },
    Reclaim { by: usize },
    Promote,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Done,
    Retry { due: bool },
    Dead,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || prop::sample::select(Priority::ALL.to_vec());
    let who = || 0..CONSUMERS.len();
    let which = any::<prop::sample::Index>;
    let verdict = prop_oneof![
        2 => Just(Verdict::Done),
        2 => any::<bool>().prop_map(|due| Verdict::Retry { due }),
        1 => Just(Verdict::Dead)
    ];
    let verdicts = prop::collection::vec((which(), verdict), 1..5);
    let step = prop_oneof![
        4 => lane().prop_map(|lane| Step::Submit { lane }),
        2 => (lane(), any::<bool>()).prop_map(|(lane, due)| Step::Delay { lane, due }),
        5 => (who(), 1..4_usize).prop_map(|(by, limit)| Step::Take { by, limit }),
        4 => (who(), verdicts).prop_map(|(by, verdicts)| Step::Settle { by, verdicts }),
        2 => (who(), which()).prop_map(|(by, which)| Step::HandBack { by, which }),
        2 => (who(), which(), any::<bool>()).prop_map(|(by, which, alone)| Step::Note { by, which, alone }),
        2 => who().prop_map(|who| Step::Crash { who }),
        1 => who().prop_map(|who| Step::Beat { who }),
        3 => who().prop_map(|by| Step::Reclaim { by }),
        3 => Just(Step::Promote),
    ];
    prop::collection::vec(step, 1..40)
}
