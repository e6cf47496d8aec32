//! Whether what we send to a server is something that Dragonfly has.
//!
//! Promise: knows Dragonfly's commands and those of their options that we may use (`tests/data`), and holds
//! every command of a MONITOR log against them; holds what a script calls against the commands that are safe inside one, and
//! every key that it touches against the keys that its call declared. Never guesses: what is not in the data is a violation.

mod lua;
mod monitor;
mod syntax;

use std::collections::{BTreeSet, HashMap};

use self::{monitor::Ran, syntax::Syntax};

/// What Dragonfly has, and what of it we use.
pub struct Dragonfly {
    commands: BTreeSet<String>,
    /// What a script may call without stopping the server: names, with a subcommand after a space.
    safe_in_scripts: BTreeSet<String>,
    syntaxes: HashMap<String, Vec<Syntax>>,
}

impl Default for Dragonfly {
    /// From the data files.
    fn default() -> Self {
        let commands = lines(include_str!("../../data/dragonfly-commands.txt")).map(str::to_owned).collect();
        let safe = lines(include_str!("../../data/dragonfly-script-commands.txt")).map(str::to_owned).collect();
        let mut syntaxes: HashMap<String, Vec<Syntax>> = HashMap::new();
        for line in lines(include_str!("../../data/dragonfly-options.txt")) {
            let name = line.split(' ').next().expect("a line is not empty");
            syntaxes.entry(name.to_owned()).or_default().push(Syntax::parse(line));
        }
        Self { commands, safe_in_scripts: safe, syntaxes }
    }
}

fn lines(data: &'static str) -> impl Iterator<Item = &'static str> {
    data.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

impl Dragonfly {
    /// Everything in a MONITOR log that Dragonfly would not do, or would do differently; each sort of it once.
    pub fn violations<'a>(&self, log: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mut violations = BTreeSet::new();
        let mut declared: Option<Vec<String>> = None;
        for ran in log.into_iter().filter_map(monitor::read) {
            let found = match self.keys(&ran) {
                Err(violation) => Err(violation),
                Ok(keys) if ran.in_script => undeclared(&keys, declared.as_deref()),
                Ok(keys) => {
                    let of_script = ran.command[0].eq_ignore_ascii_case("EVALSHA");
                    let shared = share_a_tag(&keys);
                    declared = of_script.then_some(keys);
                    shared
                }
            };
            if let Err(violation) = found {
                let place = if ran.in_script { "in a script: " } else { "" };
                violations.insert(format!("{place}{}: {violation}", shown(&ran.command)));
            }
        }
        violations
    }

    /// Commands of `INFO commandstats` that we may not use; it counts those too that MONITOR does not show.
    pub fn uncalled_for(&self, commandstats: &str) -> BTreeSet<String> {
        let named = commandstats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
        named.filter(|name| !self.allows(&name.split('|').collect::<Vec<_>>())).map(str::to_owned).collect()
    }

    /// The names of the commands that scripts may call.
    pub fn safe_in_scripts(&self) -> impl Iterator<Item = &str> {
        self.safe_in_scripts.iter().map(String::as_str)
    }

    /// Whether a script may call this command, given its first two words.
    fn is_safe_in_scripts(&self, command: &str, subcommand: Option<&str>) -> bool {
        let name = command.to_uppercase();
        let with_subcommand = subcommand.map(|word| format!("{name} {}", word.to_uppercase()));
        self.safe_in_scripts.contains(&name) || with_subcommand.is_some_and(|name| self.safe_in_scripts.contains(&name))
    }

    fn allows(&self, words: &[&str]) -> bool {
        let name = words[0].to_uppercase();
        let syntaxes = self.syntaxes.get(&name).map(Vec::as_slice).unwrap_or_default();
        self.commands.contains(&name) && syntaxes.iter().any(|syntax| syntax.begins_with(words))
    }

    /// The keys of an allowed command.
    fn keys(&self, ran: &Ran) -> Result<Vec<String>, String> {
        let name = ran.command[0].to_uppercase();
        if !self.commands.contains(&name) {
            return Err("Dragonfly has no such command".to_owned());
        }
        if ran.in_script && !self.is_safe_in_scripts(&name, ran.command.get(1).map(String::as_str)) {
            return Err("a script that calls it may stop the server".to_owned());
        }
        if ran.in_script && ran.command.iter().any(|word| word == "BLOCK") && name.starts_with("XREAD") {
            return Err("BLOCK does not wait in a script".to_owned());
        }
        let syntaxes = self.syntaxes.get(&name).ok_or("not among the commands that we may use")?;
        let found = syntaxes.iter().find_map(|syntax| syntax.keys(&ran.command));
        found.ok_or_else(|| "an option that we may not use, or an argument out of bounds".to_owned())
    }
}

fn undeclared(keys: &[String], declared: Option<&[String]>) -> Result<(), String> {
    let declared = declared.ok_or("no script call stands before it")?;
    match keys.iter().find(|key| !declared.contains(key)) {
        Some(key) => Err(format!("the script's call did not declare the key {key}")),
        None => Ok(()),
    }
}

fn share_a_tag(keys: &[String]) -> Result<(), String> {
    let mut tags = keys.iter().map(|key| tag(key));
    let first = tags.next();
    match tags.find(|tag| Some(*tag) != first) {
        Some(other) => Err(format!("its keys have different tags, {} and {other}", first.unwrap_or_default())),
        None => Ok(()),
    }
}

/// What decides a key's slot: what stands between its first braces, or all of it.
fn tag(key: &str) -> &str {
    let braced = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    braced.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The words of a command that are its own, so that each sort of violation is told once.
fn shown(command: &[String]) -> String {
    let is_word = |word: &&String| word.len() < 20 && word.chars().all(|character| character.is_ascii_uppercase());
    let words: Vec<&str> = command.iter().skip(1).filter(is_word).map(String::as_str).collect();
    [vec![command[0].as_str()], words].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The violations of commands; those that begin with `lua` are a script's.
    fn violations(commands: &[&str]) -> Vec<String> {
        let log: Vec<String> = commands
            .iter()
            .map(|command| {
                let (origin, command) = command.strip_prefix("lua ").map_or(("[0 h:1]", *command), |c| ("[0 lua]", c));
                let quoted: Vec<String> = command.split(' ').map(|word| format!("\"{word}\"")).collect();
                format!("1.2 {origin} {}", quoted.join(" "))
            })
            .collect();
        Dragonfly::default().violations(log.iter().map(String::as_str)).into_iter().collect()
    }

    #[test]
    fn every_command_that_we_use_is_in_dragonflys_list() {
        let dragonfly = Dragonfly::default();
        assert!(dragonfly.syntaxes.keys().all(|name| dragonfly.commands.contains(name)));
        assert!(dragonfly.commands.len() > 300 && dragonfly.syntaxes.len() > 40);
    }

    #[test]
    fn what_scripts_may_call_is_among_what_clients_may_send() {
        let dragonfly = Dragonfly::default();
        let unknown: Vec<&str> = dragonfly
            .safe_in_scripts()
            .filter(|command| !dragonfly.allows(&command.split(' ').collect::<Vec<_>>()))
            .collect();
        assert_eq!(unknown, Vec::<&str>::new());
        for unsafe_command in ["XINFO", "XGROUP", "WAIT", "INFO", "SCRIPT", "CLIENT", "SUBSCRIBE", "EVALSHA"] {
            assert!(!dragonfly.is_safe_in_scripts(unsafe_command, None), "{unsafe_command}");
        }
    }

    #[test]
    fn what_dragonfly_has_passes() {
        let passing = [
            "SET p:{a}:x v NX PX 5",
            "EVALSHA d 2 p:{a}:x p:{a}:y arg",
            "lua TIME",
            "lua XADD p:{a}:y MINID ~ 17 * batch b",
            "lua XCLAIM p:{a}:x g c 0 1-1 2-1 JUSTID",
            "lua xgroup delconsumer p:{a}:x g c",
            "XINFO CONSUMERS p:{a}:x g",
            "XREADGROUP GROUP g c COUNT 1 BLOCK 2000 STREAMS p:{a}:x p:{a}:y > >",
            "xpending p:{a}:x g IDLE 5 - + 128 c",
        ];
        assert!(violations(&passing).is_empty(), "{:?}", violations(&passing));
    }

    #[test]
    fn what_dragonfly_lacks_or_does_differently_is_found() {
        for command in [
            "XACKDEL p g 1-1",
            "MULTI",
            "XCLAIM p g c 0 1-1 IDLE 5",
            "XADD p IDMP a b * f v",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS p >",
            "XREADGROUP GROUP g c BLOCK 2001 STREAMS p >",
            "XREADGROUP GROUP g c STREAMS p{a} q{a} > 0",
            "XREADGROUP GROUP g c CLAIM 5 STREAMS p >",
            "CLIENT UNBLOCK 5",
            "CLIENT NO-EVICT on",
            "FUNCTION LOAD x",
            "OBJECT ENCODING k",
        ] {
            assert_eq!(violations(&[command]).len(), 1, "{command}");
        }
    }

    #[test]
    fn keys_of_other_tags_and_undeclared_keys_are_found() {
        for commands in [
            &["DEL p:{a}:x p:{b}:x"] as &[&str],
            &["DEL x y"],
            &["EVALSHA d 2 p:{a}:x p:{b}:x"],
            &["EVALSHA d 1 p:{a}:x", "lua GET p:{a}:y"],
            &["EVALSHA d 1 p:{a}:x", "GET p:{a}:y", "lua GET p:{a}:x"],
            &["lua GET p:{a}:x"],
            &["EVALSHA d 1 p:{a}:x", "lua XREADGROUP GROUP g c BLOCK 5 STREAMS p:{a}:x >"],
            &["EVALSHA d 1 p:{a}:x", "lua XINFO CONSUMERS p:{a}:x g"],
            &["EVALSHA d 1 p:{a}:x", "lua INFO"],
        ] {
            assert_eq!(violations(commands).len(), 1, "{commands:?}");
        }
    }

    #[test]
    fn commands_that_monitor_hides_are_counted() {
        let dragonfly = Dragonfly::default();
        let stats = "# Commandstats\r\ncmdstat_get:calls=1\r\ncmdstat_client|setname:calls=1\r\n";
        assert!(dragonfly.uncalled_for(stats).is_empty());
        let stats = "cmdstat_client|no-evict:calls=1\r\ncmdstat_config|set:calls=1\r\ncmdstat_fcall:calls=1\r\n";
        assert_eq!(dragonfly.uncalled_for(stats).len(), 3);
    }
}
