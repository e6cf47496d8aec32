//! Explores every state that can be reached, breadth first, so that the first trace found is a shortest one.
//!
//! Promise: states are compared whole, none is taken for another; an action that a property refuses ends the search with
//! the way there. Then every state is asked whether the service alone could still settle everything from there.
//!
//! Why not `stateright`, the library made for this: its properties speak of states, and the promises here speak of steps
//! ("nothing is acknowledged before …"), for which every state would carry its history; it cannot ask whether something
//! good stays possible; it knows states by a hash; and its explorer, a web server, cannot be left out of the build.

use std::{
    collections::HashMap,
    fmt::Write as _,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    actions::{Action, Told, possible},
    properties::{Property, Sight, all_settled, broken_by, broken_in, witnessed},
    service::Service,
    state::State,
};

/// What a search saw that broke nothing.
#[derive(Debug, Default)]
pub struct Explored {
    /// How many states.
    pub n_states: usize,
    /// How many steps between them.
    pub n_steps: usize,
    /// How many steps the longest of the shortest ways has.
    pub depth: usize,
    /// What was seen on the way, each once.
    pub sights: Vec<Sight>,
}

/// A promise that is broken, and a shortest way there.
#[derive(Debug)]
pub struct Counterexample {
    /// Which promise.
    pub property: Property,
    /// The way, from the beginning.
    pub actions: Vec<Action>,
    /// The same for a reader, with the state that it leads to.
    pub trace: String,
}

struct Node {
    state: State,
    parent: u32,
    by: Action,
    depth: u16,
}

struct Search {
    service: Service,
    nodes: Vec<Node>,
    numbers: HashMap<State, u32, BuildHasherDefault<Mix>>,
    /// (from, to) of what the service does by itself.
    ours: Vec<(u32, u32)>,
    seen: Explored,
}

/// Explores all that can happen to a service from `start` on.
///
/// # Errors
/// The first promise that is broken.
pub fn explore(service: Service, start: State) -> Result<Explored, Box<Counterexample>> {
    let mut search =
        Search { service, nodes: Vec::new(), numbers: HashMap::default(), ours: Vec::new(), seen: Explored::default() };
    search.visit(start, 0, Action::Notice);
    let (mut at, mut actions) = (0, Vec::new());
    while at < search.nodes.len() {
        actions.clear();
        possible(&search.nodes[at].state, &mut actions);
        search.step_from(at, &actions)?;
        at += 1;
    }
    search.none_is_stuck()?;
    search.seen.n_states = search.nodes.len();
    search.seen.depth = search.nodes.iter().map(|node| usize::from(node.depth)).max().unwrap_or_default();
    Ok(search.seen)
}

impl Search {
    fn step_from(&mut self, at: usize, actions: &[Action]) -> Result<(), Box<Counterexample>> {
        let state = self.nodes[at].state;
        let from = u32::try_from(at).expect("fewer states than that fit into memory");
        let mut quiet = true;
        for &action in actions {
            let Some(next) = self.service.after(&state, action) else { continue };
            self.seen.n_steps += 1;
            let broken = broken_by(&state, action, &next).or_else(|| broken_in(&next));
            if let Some(property) = broken {
                return Err(self.counterexample(property, at, Some((action, next))));
            }
            if let Some(sight) = witnessed(&state, action, &next).filter(|sight| !self.seen.sights.contains(sight)) {
                self.seen.sights.push(sight);
            }
            let to = self.visit(next, from, action);
            if action.is_ours() {
                quiet = false;
                self.ours.push((from, to));
            }
        }
        if quiet && !all_settled(&state) {
            return Err(self.counterexample(Property::SettlesAll, at, None));
        }
        Ok(())
    }

    fn visit(&mut self, state: State, parent: u32, by: Action) -> u32 {
        let number = u32::try_from(self.nodes.len()).expect("fewer states than that fit into memory");
        let found = *self.numbers.entry(state).or_insert(number);
        if found == number {
            let depth = self.nodes.get(parent as usize).map_or(0, |node| node.depth + 1);
            self.nodes.push(Node { state, parent, by, depth });
        }
        found
    }

    /// From every state a way leads, without help or further mishap, to where everything is settled.
    fn none_is_stuck(&self) -> Result<(), Box<Counterexample>> {
        let mut good: Vec<bool> = self.nodes.iter().map(|node| all_settled(&node.state)).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for &(from, to) in self.ours.iter().rev() {
                if good[to as usize] && !good[from as usize] {
                    good[from as usize] = true;
                    changed = true;
                }
            }
        }
        match good.iter().position(|good| !good) {
            Some(at) => Err(self.counterexample(Property::SettlesAll, at, None)),
            None => Ok(()),
        }
    }

    fn counterexample(&self, property: Property, at: usize, last: Option<(Action, State)>) -> Box<Counterexample> {
        let mut way = vec![];
        let mut number = at;
        while number > 0 {
            let parent = self.nodes[number].parent as usize;
            way.push((self.nodes[number].by, self.nodes[parent].state));
            number = parent;
        }
        way.reverse();
        let mut end = self.nodes[at].state;
        if let Some((action, next)) = last {
            way.push((action, end));
            end = next;
        }
        let mut trace = format!("{:?} breaks the promise {property:?} in {} steps:\n", self.service, way.len());
        for (number, (action, before)) in way.iter().enumerate() {
            writeln!(trace, "{:3}. {}", number + 1, Told(*action, before)).expect("text takes all");
        }
        writeln!(trace, "and then: {end:#?}").expect("text takes all");
        Box::new(Counterexample { property, actions: way.into_iter().map(|(action, _)| action).collect(), trace })
    }
}

/// A quick hash of a state's many small fields; equality decides.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    fn mix(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.mix(u64::from(byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number.cast_unsigned() as u64);
    }
}
