//! h

pub mod fakes;
