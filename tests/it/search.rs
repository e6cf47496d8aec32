//! Searches and warming, through a worker, against real servers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engine::{
    cache::{Cache, CacheOptions, Outcome},
    client::Submission,
    clock::ServerClock,
    completion::Completion,
    completions::Filter,
    envelope::Options,
    handler::Job,
    outcome::Status,
    shutdown::Shutdown,
    store::DeadFilter,
};
use futures::future::join_all;
use harness::{
    Fixture, Proxy, RunningWorker, WorkerOptions, authority, eventually,
    fakes::{model::FakeModel, openai::FakeOpenAi},
    patience,
};
use serde_json::json;
use workers::{
    cache::{WarmCache, Warmed},
    context::Context,
    embedders::{Embedder, OpenAiConfig, OpenAiEmbedder},
    kinds,
    memory::{AddMemories, MemoryOptions, MemoryQuery, schema::ensure_vectors},
    places::{MatchedBy, Place, PlaceIndex, PlaceKind, PlaceQuery},
    search::{
        FindBy, MemoriesRecalled, PlacesFound, RecallMemories, SearchPlaces,
        places::{PlacesLoader, PlacesState, Progress, load_some},
    },
};

const WORDS: [&str; 10] =
    ["capital", "airport", "norway", "portugal", "iceland", "japan", "tropics", "tea", "trains", "window"];

/// A worker with every kind, its cache and its clock.
struct Service {
    fixture: Fixture,
    context: Arc<Context>,
    clock: Arc<ServerClock>,
    worker: RunningWorker,
}

impl Service {
    async fn start() -> Self {
        Self::knowing(&WORDS).await
    }

    /// A worker whose model knows these words.
    async fn knowing(words: &[&str]) -> Self {
        let (fixture, model, clock) = (Fixture::new().await, FakeModel::of(words), Arc::new(ServerClock::new()));
        ensure_vectors(&fixture.store, words.len()).await.unwrap();
        let connection = fixture.connection().await;
        let cache = Cache::new(&connection, fixture.keys.clone(), Arc::clone(&clock), &CacheOptions::default());
        let memory = MemoryOptions {
            dimensions: words.len(),
            max_memories_per_user: 100,
            similarity_threshold: 0.3,
            max_search_results: 10,
        };
        let (store, embedder) = (fixture.store.clone(), model.embedder());
        let context = Arc::new(Context { store, embedder, memory, cache, places: PlacesState::default() });
        let worker =
            RunningWorker::start(&fixture, kinds::registry(), Arc::clone(&context), WorkerOptions::default()).await;
        Self { fixture, context, clock, worker }
    }

    async fn run<J: Job>(&self, job: &J) -> Completion {
        let submission = Submission::job(job).unwrap().with(Options::default());
        self.fixture.client.submit_and_wait(submission, patience()).await.unwrap()
    }

    async fn places(&self, search: &SearchPlaces) -> PlacesFound {
        let done = self.run(search).await;
        assert_eq!(done.status, Status::Done, "{:?}", done.error);
        serde_json::from_value(done.result.unwrap()).unwrap()
    }

    async fn recall(&self, user: &str, query: &str) -> MemoriesRecalled {
        let done = self.run(&recall(user, query)).await;
        assert_eq!(done.status, Status::Done, "{:?}", done.error);
        serde_json::from_value(done.result.unwrap()).unwrap()
    }

    async fn warm(&self, warm: serde_json::Value) -> Warmed {
        let done = self.run(&serde_json::from_value::<WarmCache>(warm).unwrap()).await;
        assert_eq!(done.status, Status::Done, "{:?}", done.error);
        serde_json::from_value(self.fixture.result(done.id).await).unwrap()
    }

    async fn load_places(&self) {
        load_some(&self.fixture.store, &self.context.embedder, &few_places(), |_, _| ()).await.unwrap();
    }
}

fn recall(user: &str, query: &str) -> RecallMemories {
    RecallMemories(MemoryQuery { user_id: Some(user.to_owned()), query: query.to_owned(), ..MemoryQuery::default() })
}

fn search(query: &str, by: FindBy) -> SearchPlaces {
    SearchPlaces { by, ..SearchPlaces::new(query) }
}

fn few_places() -> Vec<&'static Place> {
    let texts = ["oslo", "bergen", "lisbon", "porto", "reykjavik", "tokyo", "OSL", "LIS", "KEF", "HND"];
    let best = |text: &&str| PlaceIndex::get().find(&PlaceQuery::new(*text), 1)[0].place;
    texts.iter().map(best).collect()
}

fn names(found: &PlacesFound) -> Vec<&str> {
    found.places.iter().map(|place| place.name.as_str()).collect()
}

#[tokio::test]
async fn places_are_found_by_code_by_name_and_by_meaning() {
    let service = Service::start().await;
    service.load_places().await;
    let by_code = service.places(&search("CDG", FindBy::Auto)).await;
    assert_eq!((by_code.places[0].iata.as_deref(), by_code.places[0].matched_by), (Some("CDG"), MatchedBy::Code));
    let by_name = service.places(&search("sao paulo", FindBy::Auto)).await;
    assert_eq!((names(&by_name)[0], by_name.places[0].matched_by), ("São Paulo", MatchedBy::Name));
    let by_meaning = service.places(&search("the capital of Iceland", FindBy::Meaning)).await;
    assert_eq!((names(&by_meaning)[0], by_meaning.places[0].matched_by), ("Reykjavík", MatchedBy::Meaning));
    let auto = service.places(&search("a capital somewhere in Norway", FindBy::Auto)).await;
    assert_eq!((names(&auto)[0], auto.places[0].matched_by), ("Oslo", MatchedBy::Meaning));
    service.worker.stop().await;
}

#[tokio::test]
async fn filters_hold_for_meaning_too() {
    let service = Service::start().await;
    service.load_places().await;
    let all = SearchPlaces { limit: 50, ..search("capital", FindBy::Meaning) };
    let in_portugal = service.places(&SearchPlaces { country: Some("pt".to_owned()), ..all.clone() }).await;
    assert_eq!(in_portugal.places.len(), 3);
    assert!(in_portugal.places.iter().all(|place| place.country_code == "PT"));
    assert_eq!(names(&in_portugal)[0], "Lisbon");
    let airports = service.places(&SearchPlaces { kind: Some(PlaceKind::Airport), ..all }).await;
    let codes: BTreeSet<_> = airports.places.iter().filter_map(|place| place.iata.as_deref()).collect();
    assert_eq!(codes, BTreeSet::from(["HND", "KEF", "LIS", "OSL"]));
    service.worker.stop().await;
}

#[tokio::test]
async fn without_its_table_meaning_says_so_and_auto_goes_by_names() {
    let service = Service::start().await;
    let refused = service.run(&search("capital of iceland", FindBy::Meaning)).await;
    assert_eq!(refused.status, Status::Failed);
    let dead = service.fixture.store.dead_jobs(&DeadFilter::default(), 10).await.unwrap();
    assert!(dead[0].error.contains("not loaded for the model local/"), "{}", dead[0].error);
    let auto = service.places(&search("Lisbo", FindBy::Auto)).await;
    assert_eq!(names(&auto)[0], "Lisbon");
    assert!(service.places(&search("capital of iceland", FindBy::Auto)).await.places.is_empty());
    service.worker.stop().await;
}

#[tokio::test]
async fn equal_searches_share_an_answer_and_each_leaves_a_row() {
    let service = Service::start().await;
    let first = service.places(&search("lisbon", FindBy::Name)).await;
    let second = service.places(&search(" lisbon ", FindBy::Name)).await;
    assert_eq!((first.cache, second.cache), (Outcome::Miss, Outcome::Hit));
    assert_eq!(first.places, second.places);
    service.clock.heard(service.clock.now_ms() + 400_000);
    let third = service.places(&search("lisbon", FindBy::Name)).await;
    assert_eq!(third.cache, Outcome::Stale);
    assert!(third.age_ms >= 400_000);
    service.context.cache.stop(patience()).await;
    service.worker.stop().await;
    let caches: Vec<(String, i64)> = sqlx::query_as("select cache, count(*) from search_results group by 1 order by 1")
        .fetch_all(&service.fixture.pool)
        .await
        .unwrap();
    assert_eq!(caches, [("hit".to_owned(), 1), ("miss".to_owned(), 1), ("stale".to_owned(), 1)]);
    assert_eq!(service.fixture.number("select count(distinct params_hash) from search_results").await, 1);
    assert_eq!(service.fixture.number("select sum(n_results) from search_results").await, 3 * 2);
}

#[tokio::test]
async fn memories_are_recalled_for_their_user_alone() {
    let service = Service::start().await;
    for (user, text) in [("ann", "Likes trains and tea"), ("bob", "Wants a window seat on trains")] {
        let add = json!({"user_id": user, "items": [{"text": text}]});
        let add: AddMemories = serde_json::from_value(add).unwrap();
        let done = Submission::batch_job(&add).unwrap();
        let done = service.fixture.client.submit_and_wait(done, patience()).await.unwrap();
        assert_eq!(done.status, Status::Done);
    }
    let ann = service.recall("ann", "trains").await;
    let bob = service.recall("bob", "trains").await;
    let again = service.recall("ann", "trains").await;
    assert_eq!((ann.cache, bob.cache, again.cache), (Outcome::Miss, Outcome::Miss, Outcome::Hit));
    assert_eq!(ann.memories[0].text, "Likes trains and tea");
    assert_eq!(bob.memories[0].text, "Wants a window seat on trains");
    assert_eq!(again.memories, ann.memories);
    service.worker.stop().await;
    let rows = "select count(*) from search_results where namespace = 'memories' and user_id = 'ann'";
    assert_eq!(service.fixture.number(rows).await, 2);
}

#[tokio::test]
async fn a_warming_run_reports_what_it_did_and_users_hit_what_it_made() {
    let service = Service::start().await;
    for query in ["porto", "lisbon", "porto", "oslo", "porto", "lisbon"] {
        service.places(&search(query, FindBy::Name)).await;
    }
    service.clock.heard(service.clock.now_ms() + 400_000);
    let run = json!({
        "searches": [
            {"places": {"query": "tokyo", "by": "name"}},
            {"places": {"query": "capital of japan", "by": "meaning"}},
            {"memories": {"query": "tea", "user_id": "ann"}},
            {"places": {"query": "tokyo", "by": "name"}},
        ],
        "popular": {"namespace": "places", "limit": 2, "window_hours": 24},
    });
    let report = service.warm(run.clone()).await;
    // One of the named ones comes twice; the meaning fails, for the table is not loaded.
    assert_eq!((report.requested, report.popular), (4, 2));
    assert_eq!((report.warmed, report.already_fresh, report.failed), (4, 0, 1));
    let failed: Vec<_> = report.details.iter().filter_map(|search| search.error.as_deref()).collect();
    assert!(failed.len() == 1 && failed[0].contains("not loaded"), "{failed:?}");
    for query in ["tokyo", "porto", "lisbon"] {
        assert_eq!(service.places(&search(query, FindBy::Name)).await.cache, Outcome::Hit, "{query}");
    }
    assert_eq!(service.places(&search("oslo", FindBy::Name)).await.cache, Outcome::Stale);
    let again = service.warm(run).await;
    assert_eq!((again.warmed, again.already_fresh, again.failed), (0, 4, 1));
    service.worker.stop().await;
    assert_eq!(service.fixture.number("select count(*) from cache_warm_runs").await, 2);
    assert_eq!(service.fixture.number("select sum(warmed) from cache_warm_runs").await, 4);
    let details = "select sum(jsonb_array_length(details)) from cache_warm_runs";
    assert_eq!(service.fixture.number(details).await, 10);
}

#[tokio::test]
async fn loading_places_twice_embeds_them_once_and_another_model_anew() {
    let (fixture, model) = (Fixture::new().await, FakeModel::of(&WORDS));
    let (store, places) = (&fixture.store, few_places());
    let mut heard = Vec::new();
    let first = load_some(store, &model.embedder(), &places, |done, all| heard.push((done, all))).await.unwrap();
    assert_eq!((first.places, first.embedded, heard), (10, 10, vec![(10, 10)]));
    let embedder = model.embedder();
    let both = join_all((0..2).map(|_| load_some(store, &embedder, &places, |_, _| ()))).await;
    assert!(both.into_iter().all(|loaded| loaded.unwrap().embedded == 0));
    // A load that was interrupted: rows are there, one is missing, the index is not built.
    sqlx::raw_sql("drop index places_by_meaning; delete from places where name = 'Oslo'")
        .execute(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(load_some(store, &embedder, &places, |_, _| ()).await.unwrap().embedded, 1);
    let other = FakeModel::of(&WORDS[..7]);
    let reloaded = load_some(store, &other.embedder(), &places[..8], |_, _| ()).await.unwrap();
    assert_eq!((reloaded.places, reloaded.embedded), (8, 8));
    assert_eq!(fixture.number("select count(*) from places where embedding is not null").await, 8);
    assert_eq!(fixture.number("select count(*) from pg_indexes where indexname = 'places_by_meaning'").await, 1);
}

/// An embedder of the fake's vectors, asked at this address.
fn asked_at(base_url: &str) -> Embedder {
    let config = OpenAiConfig {
        base_url: base_url.parse().unwrap(),
        api_key: Some("sk-test-abcdefghijklmnopqrstuvwx".to_owned().into()),
        organization: None,
        model: "text-embedding-3-small".to_owned(),
        dimensions: 8,
        send_dimensions: true,
        timeout: Duration::from_secs(5),
        max_retries: 0,
        max_batch_inputs: 512,
        max_parallel: 4,
    };
    Embedder::OpenAi(OpenAiEmbedder::new(config).unwrap())
}

#[tokio::test]
async fn while_the_endpoint_is_away_names_are_found_and_meanings_come_when_it_is_back() {
    let (fixture, fake) = (Fixture::new().await, FakeOpenAi::start().await.unwrap());
    let proxy = Proxy::before(authority(fake.base_url())).await;
    proxy.cut();
    let embedder = asked_at(&proxy.url(fake.base_url()));
    let memory =
        MemoryOptions { dimensions: 8, max_memories_per_user: 100, similarity_threshold: 0.3, max_search_results: 10 };
    let (store, cache, places) = (fixture.store.clone(), Cache::off(), PlacesState::default());
    let context = Context { store: store.clone(), embedder: embedder.clone(), memory, cache, places: places.clone() };
    let worker = RunningWorker::start(&fixture, kinds::registry(), Arc::new(context), WorkerOptions::default()).await;
    let (shutdown, interval) = (Shutdown::new(), Duration::from_millis(20));
    let loader =
        PlacesLoader { store: store.clone(), embedder, state: places.clone(), interval, longest: interval * 10 };
    drop(shutdown.spawn(loader.run(shutdown.clone())));
    let why =
        eventually("a failed try", || async { places.check().err().filter(|why| why.contains("failed to")) }).await;
    assert!(why.contains("get embeddings from 127.0.0.1"), "{why}");
    let mut completions = fixture.client.completions(&Filter::All).await.unwrap();
    let meant = Submission::job(&search("the capital of Iceland", FindBy::Meaning)).unwrap();
    fixture.client.submit(meant).await.unwrap();
    let named = Submission::job(&search("Lisbo", FindBy::Name)).unwrap();
    let named = fixture.client.submit_and_wait(named, patience()).await.unwrap();
    assert_eq!(named.status, Status::Done, "{:?}", named.error);
    // A few places are enough; the loader finds the table whole and leaves it.
    load_some(&store, &asked_at(fake.base_url()), &few_places(), |_, _| ()).await.unwrap();
    eventually("the table", || async { (places.get() == Progress::Loaded).then_some(()) }).await;
    proxy.heal();
    let ended = loop {
        let batch = completions.next().await.unwrap().completions;
        if let Some(ended) = batch.into_iter().find(|completion| completion.id != named.id) {
            break ended;
        }
    };
    assert_eq!(ended.status, Status::Done, "it came again instead of failing: {:?}", ended.error);
    assert!(ended.attempt > 1);
    shutdown.stop();
    shutdown.finished().await;
    worker.stop().await;
    assert_eq!(fixture.number("select count(*) from places").await, 10);
}

#[tokio::test]
async fn vectors_of_many_dimensions_are_kept_in_half_precision() {
    let words: Vec<String> = (0..2_100).map(|n| format!("w{n}")).collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words[..2].copy_from_slice(&["capital", "norway"]);
    let service = Service::knowing(&words).await;
    let (fixture, embedder) = (&service.fixture, &service.context.embedder);
    let loaded = load_some(&fixture.store, embedder, &few_places(), |_, _| ()).await.unwrap();
    // Four places are neither capitals nor in Norway: the model knows no word of theirs.
    assert_eq!((loaded.embedded, loaded.without_vector), (10, 4));
    let half = "select count(*) from pg_attribute where attrelid = 'places'::regclass \
                and format_type(atttypid, atttypmod) = 'halfvec(2100)'";
    assert_eq!(fixture.number(half).await, 1);
    let found = service.places(&search("capital of norway", FindBy::Meaning)).await;
    assert_eq!((names(&found)[0], found.places.len()), ("Oslo", 6));
    service.worker.stop().await;
}
