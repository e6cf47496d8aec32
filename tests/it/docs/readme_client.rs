//! The README's example in Rust: the part between the marks stands there word for word.

#![allow(unreachable_pub, clippy::print_stdout, reason = "it stands in the README as a reader would write it")]

// readme: begin
use std::time::Duration;

use engine::{
    broker::Address,
    client::{Client, ClientOptions, Submission},
    completion::Completion,
    keys::Keys,
};
use workers::diagnostics::Probe;

pub async fn submit_and_await(url: &str, prefix: &str) -> anyhow::Result<Completion> {
    let address = Address::parse(url, None)?;
    let client = Client::connect(ClientOptions::new(address, Keys::new(prefix))).await?;
    let job = Submission::job(&Probe { say: Some("hello".to_owned()), ..Probe::default() })?;
    let completion = client.submit_and_wait(job, Duration::from_secs(30)).await?;
    println!("{} {:?}", completion.status.as_str(), completion.result);
    Ok(completion)
}
// readme: end
