//! Five searches whose answers a person can judge: three for places by meaning, two in the memories of Ann.

use engine::job::JobId;
use serde_json::Value;

use super::{cast::Cast, phase::Phase, progress::Progress, queries, stage::Stage};
use crate::{
    cache::WarmSearch,
    places::PlaceKind,
    search::{FindBy, SearchPlaces},
};

/// Answers shown of each search.
const SHOWN: u32 = 3;

const PLACES: &[&str] = &[
    "town north of the Arctic Circle in Norway",
    "capital that borders Norway and Finland",
    "French speaking city in Canada",
];

const MEMORIES: &[&str] = &["what food must she avoid?", "how does she like to travel through Europe?"];

/// A search and its answers, as they are printed.
pub(super) struct Shown {
    /// What was asked, and where.
    pub(super) asked: String,
    /// The best answers, each on a line.
    pub(super) answers: Vec<String>,
}

/// Asks the five searches.
///
/// # Errors
/// When a server cannot be asked.
pub(super) async fn ask(stage: &Stage<'_>) -> anyhow::Result<Vec<Shown>> {
    let searches = searches(&stage.cast);
    let progress = Progress::begin(Phase::Shown.label(), searches.len());
    let jobs = searches.iter().map(|(_, search)| queries::job(search)).collect::<anyhow::Result<Vec<_>>>()?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.envelope.id).collect();
    stage.submit(Phase::Shown, jobs).await?;
    stage.settled(Phase::Shown, &progress).await?;
    progress.end();
    let shown = searches.into_iter().zip(ids).map(|((asked, _), id)| {
        let result = stage.tally.result(id).unwrap_or_default();
        Shown { asked, answers: answers(&result) }
    });
    Ok(shown.collect())
}

fn searches(cast: &Cast) -> Vec<(String, WarmSearch)> {
    let places = PLACES.iter().map(|query| {
        let search = SearchPlaces {
            limit: SHOWN,
            kind: Some(PlaceKind::City),
            by: FindBy::Meaning,
            ..SearchPlaces::new(*query)
        };
        (format!("places: {query}"), WarmSearch::Places(search))
    });
    let memories =
        MEMORIES.iter().map(|query| (format!("Ann's memories: {query}"), queries::memories(cast.ann(), query)));
    places.chain(memories).collect()
}

/// The lines of a result, a place search's or a memory search's.
fn answers(result: &Value) -> Vec<String> {
    let list = |name: &str| result[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let places = list("places").iter().map(|place| {
        let text = |field: &str| place[field].as_str().unwrap_or_default().to_owned();
        let region = if text("region").is_empty() { String::new() } else { format!("{}, ", text("region")) };
        line(&format!("{}, {region}{}", text("name"), text("country")), place)
    });
    let memories = list("memories").iter().map(|memory| line(memory["text"].as_str().unwrap_or_default(), memory));
    places.chain(memories).collect()
}

fn line(text: &str, found: &Value) -> String {
    let text: String = text.chars().take(80).collect();
    format!("{:.2}  {text}", found["score"].as_f64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_of_both_kinds_become_lines() {
        let places = json!({"places": [{"name": "Tromsø", "region": "Troms", "country": "Norway", "score": 0.714}]});
        assert_eq!(answers(&places), ["0.71  Tromsø, Troms, Norway"]);
        let memories = json!({"memories": [{"text": "Likes tea", "score": 0.5}]});
        assert_eq!(answers(&memories), ["0.50  Likes tea"]);
        assert!(answers(&Value::Null).is_empty());
    }
}
