//! Cache warming: answers are made before anybody asks.

mod popular;
mod report;
pub mod warm;

pub use self::{
    popular::{Namespace, Popular},
    report::{WarmOutcome, Warmed, WarmedSearch},
    warm::{WarmCache, WarmSearch},
};
