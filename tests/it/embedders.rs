//! The client of OpenAI's embeddings API against the strict fake.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use harness::fakes::openai::{FakeOpenAi, Reply, Rules, vector};
use workers::embedders::{EmbedError, InputError, OpenAiConfig, OpenAiEmbedder, Pacing};

const KEY: &str = "sk-test-abcdefghijklmnopqrstuvwx";

/// Pauses that take no time and are written down in milliseconds.
type Pauses = Arc<Mutex<Vec<u128>>>;

fn pacing(pauses: &Pauses) -> Pacing {
    let pauses = Arc::clone(pauses);
    Pacing {
        random: Box::new(|| 0.0),
        now: Box::new(|| "2015-10-21T07:28:00Z".parse().unwrap()),
        wait: Box::new(move |pause| {
            pauses.lock().unwrap().push(pause.as_millis());
            std::future::ready(()).boxed()
        }),
    }
}

fn config(fake: &FakeOpenAi) -> OpenAiConfig {
    OpenAiConfig {
        base_url: fake.base_url().parse().unwrap(),
        api_key: Some(KEY.to_owned().into()),
        organization: None,
        model: "text-embedding-3-small".to_owned(),
        dimensions: 8,
        send_dimensions: true,
        timeout: Duration::from_secs(20),
        max_retries: 3,
        max_batch_inputs: 512,
        max_parallel: 4,
    }
}

fn embedder(config: OpenAiConfig) -> (OpenAiEmbedder, Pauses) {
    let pauses = Pauses::default();
    (OpenAiEmbedder::with_pacing(config, pacing(&pauses)).unwrap(), pauses)
}

fn places(n: usize) -> Vec<String> {
    (0..n).map(|place| format!("place {place}")).collect()
}

async fn error_of(fake: &FakeOpenAi, config: OpenAiConfig) -> (EmbedError, Vec<u128>, usize) {
    let before = fake.requests().len();
    let (embedder, pauses) = embedder(config);
    let error = embedder.embed(&places(2)).await.unwrap_err();
    let pauses = pauses.lock().unwrap().clone();
    (error, pauses, fake.requests().len() - before)
}

#[tokio::test]
async fn every_text_gets_its_own_vector_in_order() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut config = config(&fake);
    config.max_batch_inputs = 100;
    config.organization = Some("org-1".to_owned());
    let (embedder, _) = embedder(config);
    let texts = places(250);
    let embedded = embedder.embed(&texts).await.unwrap();
    for (text, result) in texts.iter().zip(&embedded.vectors) {
        assert_eq!(result.as_ref().unwrap(), &vector(text, 8));
    }
    assert_eq!(embedded.tokens, texts.iter().map(|text| text.len().div_ceil(4) as u64).sum::<u64>());
    let mut sizes = fake.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    assert!(fake.requests().iter().all(|request| request.headers["openai-organization"] == "org-1"));
}

#[tokio::test]
async fn no_text_makes_no_request() {
    let fake = FakeOpenAi::start().await.unwrap();
    let (embedder, _) = embedder(config(&fake));
    assert!(embedder.embed(&[]).await.unwrap().vectors.is_empty());
    assert_eq!(embedder.embed(&[" ".to_owned()]).await.unwrap().vectors, [Err(InputError::Empty)]);
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn floats_and_items_out_of_order_are_understood() {
    let fake = FakeOpenAi::start().await.unwrap();
    let (embedder, _) = embedder(config(&fake));
    for reply in [Reply::Floats, Reply::Reversed] {
        fake.script([reply]);
        let embedded = embedder.embed(&places(3)).await.unwrap();
        for (text, result) in places(3).iter().zip(&embedded.vectors) {
            let close = |(left, right): (&f32, &f32)| (left - right).abs() < 1e-6;
            assert!(result.as_ref().unwrap().iter().zip(&vector(text, 8)).all(close));
        }
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_after_the_pause_it_wants() {
    let fake = FakeOpenAi::start().await.unwrap();
    let page = "<html><title>502 Bad Gateway</title></html>".to_owned();
    fake.script([
        Reply::error(429, "tokens", "rate_limit_exceeded", "Rate limit").with("retry-after-ms", "312"),
        Reply::error(503, "server_error", "", "overloaded").with("retry-after", "Wed, 21 Oct 2015 07:28:07 GMT"),
        Reply::Raw(502, Vec::new(), page),
    ]);
    let (embedder, pauses) = embedder(config(&fake));
    assert!(embedder.embed(&places(2)).await.unwrap().vectors.iter().all(Result::is_ok));
    assert_eq!(*pauses.lock().unwrap(), [312, 7000, 2000]);
}

#[tokio::test]
async fn retries_end_and_the_caller_learns_when_to_come_back() {
    let fake = FakeOpenAi::start().await.unwrap();
    fake.script((0..4).map(|_| Reply::error(500, "server_error", "", "oops")));
    let (error, pauses, n_requests) = error_of(&fake, config(&fake)).await;
    assert!(error.is_retryable() && error.retry_after().is_none());
    assert_eq!((pauses.as_slice(), n_requests), ([500, 1000, 2000].as_slice(), 4));
    assert!(error.to_string().ends_with("(HTTP 500, request req_fake): oops"), "{error}");

    fake.script([Reply::error(429, "requests", "rate_limit_exceeded", "Rate limit").with("retry-after", "600")]);
    let (error, pauses, n_requests) = error_of(&fake, config(&fake)).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
    assert_eq!((pauses.len(), n_requests), (0, 1));
}

#[tokio::test]
async fn what_cannot_succeed_is_not_repeated() {
    let fake = FakeOpenAi::start().await.unwrap();
    fake.script([Reply::error(429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota")]);
    let (error, _, n_requests) = error_of(&fake, config(&fake)).await;
    assert!(!error.is_retryable() && n_requests == 1, "{error}");

    let mut wrong = config(&fake);
    wrong.model = "no-such-model".to_owned();
    let (error, _, n_requests) = error_of(&fake, wrong).await;
    assert!(!error.is_retryable() && n_requests == 1, "{error}");
    assert_eq!(error.failure().status, Some(404));

    fake.script([Reply::error(500, "server_error", "", "oops").with("x-should-retry", "false")]);
    let (_, pauses, n_requests) = error_of(&fake, config(&fake)).await;
    assert_eq!((pauses.len(), n_requests), (0, 1));
}

#[tokio::test]
async fn a_wrong_key_is_named_without_showing_any_of_it() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut wrong = config(&fake);
    wrong.api_key = Some("sk-other-zyxwvutsrqponm1234".to_owned().into());
    let (error, _, n_requests) = error_of(&fake, wrong).await;
    let shown = format!("{error} {error:?}");
    assert!(!error.is_retryable() && n_requests == 1);
    assert!(shown.contains("Incorrect API key provided: [key]"), "{shown}");
    assert!(!shown.contains("sk-other") && !shown.contains("1234"), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut gone = config(&fake);
    // Port 1 of this machine: nothing listens there.
    gone.base_url = "http://user:hidden@127.0.0.1:1/v1".parse().unwrap();
    let (error, pauses, _) = error_of(&fake, gone).await;
    assert!(error.is_retryable() && pauses.len() == 3);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("127.0.0.1:1: cannot connect") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn a_text_that_the_server_names_fails_alone() {
    let rules = Rules { max_input_tokens: 10, ..Rules::default() };
    let fake = FakeOpenAi::with_rules(rules).await.unwrap();
    let (embedder, _) = embedder(config(&fake));
    let mut texts = places(6);
    texts[1] = "long ".repeat(20);
    texts[4] = "long ".repeat(30);
    let embedded = embedder.embed(&texts).await.unwrap();
    let bad: Vec<_> = (0..6).filter(|place| embedded.vectors[*place].is_err()).collect();
    assert_eq!(bad, [1, 4]);
    assert!(matches!(embedded.vectors[1], Err(InputError::TooLong { size_bytes: 100, .. })));
    assert_eq!(embedded.vectors[5].as_ref().unwrap(), &vector("place 5", 8));
    assert_eq!(fake.sizes(), [6, 5, 4]);
}

#[tokio::test]
async fn a_text_that_is_refused_without_a_name_is_found() {
    let rules = Rules { poison: Some("place 13".to_owned()), ..Rules::default() };
    let fake = FakeOpenAi::with_rules(rules).await.unwrap();
    let (embedder, _) = embedder(config(&fake));
    let embedded = embedder.embed(&places(32)).await.unwrap();
    let bad: Vec<_> = (0..32).filter(|place| embedded.vectors[*place].is_err()).collect();
    assert_eq!(bad, [13]);
    assert!(matches!(embedded.vectors[13], Err(InputError::Refused { .. })));
    assert!(fake.requests().len() <= 12, "{:?}", fake.sizes());
}

#[tokio::test]
async fn a_request_that_fails_with_any_text_is_not_bisected() {
    let fake = FakeOpenAi::start().await.unwrap();
    fake.script((0..2).map(|_| Reply::error(400, "invalid_request_error", "", "no such thing")));
    let (error, _, n_requests) = error_of(&fake, config(&fake)).await;
    assert!(!error.is_retryable());
    assert_eq!(n_requests, 2);
}

#[tokio::test]
async fn too_many_tokens_are_sent_in_parts() {
    let rules = Rules { max_tokens: 20, ..Rules::default() };
    let fake = FakeOpenAi::with_rules(rules).await.unwrap();
    let (embedder, _) = embedder(config(&fake));
    let embedded = embedder.embed(&places(40)).await.unwrap();
    assert!(embedded.vectors.iter().all(Result::is_ok));
    assert_eq!(fake.sizes(), [40, 20, 10, 10, 20, 10, 10]);
}

#[tokio::test]
async fn a_smaller_server_is_understood_once_and_for_all() {
    let rules = Rules { api_key: None, max_inputs: 32, flat_errors: true, ..Rules::default() };
    let fake = FakeOpenAi::with_rules(rules).await.unwrap();
    let mut keyless = config(&fake);
    keyless.api_key = None;
    let (embedder, _) = embedder(keyless);
    for _ in 0..2 {
        assert!(embedder.embed(&places(96)).await.unwrap().vectors.iter().all(Result::is_ok));
    }
    assert_eq!(fake.sizes(), [96, 32, 32, 32, 32, 32, 32]);
    assert!(fake.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn answers_that_do_not_fit_are_errors_and_never_vectors() {
    let fake = FakeOpenAi::start().await.unwrap();
    fake.script([Reply::Sized(9)]);
    let (error, _, _) = error_of(&fake, config(&fake)).await;
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("vectors of 9 dimensions, 8 were expected"), "{error}");
    fake.script([Reply::Short]);
    let (error, _, _) = error_of(&fake, config(&fake)).await;
    assert!(error.to_string().contains("1 vectors for 2 inputs"), "{error}");
    fake.script([Reply::Raw(200, Vec::new(), "<html></html>".to_owned())]);
    let (error, _, n_requests) = error_of(&fake, config(&fake)).await;
    assert!(error.is_retryable() && n_requests == 1, "{error}");

    fake.script([Reply::Zero]);
    let (embedder, _) = embedder(config(&fake));
    let embedded = embedder.embed(&places(2)).await.unwrap();
    assert_eq!(embedded.vectors[0], Err(InputError::NoDirection));
    assert!(embedded.vectors[1].is_ok());
}

#[tokio::test]
async fn dimensions_are_only_sent_where_they_are_wanted() {
    let fake = FakeOpenAi::with_rules(Rules { dimensions: 12, ..Rules::default() }).await.unwrap();
    let mut fixed = config(&fake);
    (fixed.dimensions, fixed.send_dimensions) = (12, false);
    let (embedder, _) = embedder(fixed);
    let embedded = embedder.embed(&places(1)).await.unwrap();
    assert_eq!(embedded.vectors[0].as_ref().unwrap(), &vector("place 0", 12));
}

#[tokio::test]
async fn callers_share_one_limit_and_get_their_own_vectors() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut config = config(&fake);
    config.max_parallel = 2;
    let (embedder, _) = embedder(config);
    let texts: Vec<_> = places(20);
    let calls = texts.iter().map(|text| embedder.embed(std::slice::from_ref(text)));
    for (text, embedded) in texts.iter().zip(join_all(calls).await) {
        assert_eq!(embedded.unwrap().vectors[0].as_ref().unwrap(), &vector(text, 8));
    }
    assert!(fake.peak() <= 2, "{} requests at a time", fake.peak());
}
