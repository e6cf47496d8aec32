//! it

mod embedders;
