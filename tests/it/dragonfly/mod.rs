//! That the service is fit for Dragonfly, also where none is at hand.

mod full_memory;
mod lost_memory;
mod scripts;
mod suites;
