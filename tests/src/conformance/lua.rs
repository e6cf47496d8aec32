//! Whether a Lua script, as it is written, would run on Dragonfly as it does on Redis.

use super::{Dragonfly, syntax::Syntax};

/// Words of a script that Lua 5.4 or Dragonfly lack, or that make a loop without an end.
const LACKING: [&str; 11] = [
    "loadstring",
    "setfenv",
    "getfenv",
    "math.pow",
    "math.random",
    "table.getn",
    "redis.setresp",
    "redis.replicate_commands",
    "while",
    "repeat",
    "goto",
];

const UNPACK: &str = "local unpack = table.unpack or unpack";

impl Dragonfly {
    /// What in a script would fail on Dragonfly, or differ there, or break our own rules for scripts.
    pub fn violations_in_script(&self, source: &str) -> Vec<String> {
        let mut violations = header(source);
        let code: String = source.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        let lacking = LACKING.iter().filter(|word| has_word(&code, word));
        violations.extend(lacking.map(|word| format!("`{word}` is not for scripts of ours")));
        if has_word(&code, "unpack") && !code.contains(UNPACK) {
            violations.push(format!("unpack without `{UNPACK}`"));
        }
        violations.extend(calls(&code).filter_map(|call| self.call(call, (source, &code)).err()));
        violations.extend(code.lines().filter(|line| !is_bounded(line)).map(|line| format!("without a bound: {line}")));
        violations.extend(time(&code));
        violations.extend(divisions(&code));
        if code.contains("'XPENDING'") && !code.contains("][2] == ") {
            violations.push("XPENDING, and no owner is compared by name".to_owned());
        }
        violations
    }

    /// One call: the text after `redis.call(`.
    fn call(&self, call: &str, (source, code): (&str, &str)) -> Result<(), String> {
        let arguments = arguments(call);
        let shown = arguments.join(", ");
        let Some(name) = quoted(&arguments[0]) else {
            let published = source.contains(&format!("{} PUBLISH or SPUBLISH", number(&arguments[0])));
            return published.then_some(()).ok_or(format!("a command that is not written out: {shown}"));
        };
        let words: Vec<&str> = arguments.iter().filter_map(|argument| quoted(argument)).collect();
        if !self.is_safe_in_scripts(name, words.get(1).copied()) {
            return Err(format!("a script that calls it may stop the server: {shown}"));
        }
        let syntaxes = self.syntaxes.get(name).filter(|_| self.commands.contains(name));
        let syntaxes = syntaxes.ok_or(format!("not among Dragonfly's commands that we use: {shown}"))?;
        if ["IDLE", "TIME", "RETRYCOUNT", "FORCE"].iter().any(|word| name == "XCLAIM" && words.contains(word))
            || arguments.iter().any(|argument| quoted(argument) == Some("BLOCK"))
        {
            return Err(format!("an option that Dragonfly treats otherwise: {shown}"));
        }
        match key_place(name, &arguments, syntaxes) {
            Some(place) if !is_declared(arguments.get(place), code) => Err(format!("its key is not of KEYS: {shown}")),
            _ => Ok(()),
        }
    }
}

fn header(source: &str) -> Vec<String> {
    let header: Vec<&str> = source.lines().take_while(|line| line.starts_with("--")).collect();
    let shebang = source.starts_with("#!").then(|| "a first line `#!` is a syntax error".to_owned());
    let has = |word: &str| header.iter().any(|line| line.trim_start_matches(['-', ' ']).starts_with(word));
    let missing = ["KEYS", "ARGV", "Returns"].into_iter().filter(|word| !has(word));
    missing.map(|word| format!("its header has no line {word}")).chain(shebang).collect()
}

/// No string of ours holds two hyphens.
fn without_comment(line: &str) -> &str {
    line.split_once("--").map_or(line, |(code, _)| code)
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').any(|found| found == word)
}

/// The text after each `redis.call(` and `redis.pcall(`.
fn calls(code: &str) -> impl Iterator<Item = &str> {
    ["redis.call(", "redis.pcall("].into_iter().flat_map(|start| code.split(start).skip(1))
}

/// The arguments of a call, up to the bracket that closes it.
fn arguments(call: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut in_string) = (vec![String::new()], 0, false);
    for character in call.chars() {
        match character {
            '\'' => in_string = !in_string,
            '(' | '[' | '{' if !in_string => depth += 1,
            ')' if !in_string && depth == 0 => break,
            ')' | ']' | '}' if !in_string => depth -= 1,
            ',' if !in_string && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().expect("one at least").push(character);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

fn quoted(argument: &str) -> Option<&str> {
    argument.strip_prefix('\'')?.strip_suffix('\'')
}

/// `4` of `ARGV[4]`.
fn number(argument: &str) -> &str {
    argument.strip_prefix("ARGV[").and_then(|rest| rest.strip_suffix(']')).unwrap_or("?")
}

/// Which argument is the command's key, or the first of them.
fn key_place(name: &str, arguments: &[String], syntaxes: &[Syntax]) -> Option<usize> {
    let streams = arguments.iter().position(|argument| quoted(argument) == Some("STREAMS"));
    match name {
        "XREADGROUP" => streams.map(|place| place + 1),
        "XGROUP" => Some(2),
        _ => syntaxes.iter().any(Syntax::has_keys).then_some(1),
    }
}

fn is_declared(argument: Option<&String>, code: &str) -> bool {
    argument.is_some_and(|key| key.starts_with("KEYS[") || code.contains(&format!("local {key} = KEYS[")))
}

/// Loops run over a number written out, over the length of something, or over the matches in a text.
fn is_bounded(line: &str) -> bool {
    let Some(range) = line.split_once("for ").and_then(|(_, rest)| rest.split_once(" do")).map(|(range, _)| range)
    else {
        return true;
    };
    let last = range.split(", ").nth(1).unwrap_or_default();
    range.contains(" in string.gmatch(") || last.starts_with('#') || last.parse::<u32>().is_ok_and(|n| n <= 128)
}

/// The parts of TIME are texts in one place and numbers in another.
fn time(code: &str) -> Vec<String> {
    let named = code.lines().filter(|line| line.contains("redis.call('TIME')"));
    let mut bare = Vec::new();
    for line in named {
        let Some(name) = line.trim().strip_prefix("local ").and_then(|rest| rest.strip_suffix(" = redis.call('TIME')"))
        else {
            bare.push(format!("TIME without a name of its own: {line}"));
            continue;
        };
        for part in [format!("{name}[1]"), format!("{name}[2]")] {
            let begins = |place: usize| !code[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let n_uses = code.match_indices(&part).filter(|(place, _)| begins(*place)).count();
            if n_uses != code.matches(&format!("tonumber({part})")).count() {
                bare.push(format!("{part} without tonumber"));
            }
        }
    }
    bare
}

/// In Lua 5.4 a quotient is a float, and reads as one (`5.0`).
fn divisions(code: &str) -> Vec<String> {
    let whole = |before: &str| before.rsplit_once("math.floor(").is_some_and(|(_, inside)| closes(inside));
    let places = code.match_indices('/').filter(|(place, _)| !whole(&code[..*place]));
    places
        .map(|(place, _)| {
            format!("a quotient that is not rounded: …{}", &code[place..].lines().next().unwrap_or_default())
        })
        .collect()
}

fn closes(inside: &str) -> bool {
    inside.matches(')').count() <= inside.matches('(').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "-- Does it.\n-- KEYS 1 a\n-- ARGV 1 PUBLISH or SPUBLISH\n-- Returns nothing\n";

    fn violations(code: &str) -> Vec<String> {
        Dragonfly::default().violations_in_script(&format!("{HEADER}{code}"))
    }

    #[test]
    fn a_good_script_passes() {
        let good = "local t = redis.call('TIME')\nlocal s = math.floor(tonumber(t[1]) / 2)\n\
                    local stream = KEYS[tonumber('1')]\nredis.pcall(ARGV[1], 'c', 'm') -- while nobody reads\n\
                    for i = 1, #ARGV, 2 do redis.call('XDEL', stream, ARGV[i]) end";
        assert_eq!(violations(good), Vec::<String>::new());
    }

    #[test]
    fn whatever_dragonfly_would_not_do_is_found() {
        for bad in [
            "redis.call('OBJECT', 'ENCODING', KEYS[1])",
            "redis.call('MULTI')",
            "redis.call(ARGV[2], 'c')",
            "redis.call('GET', 'tripsage:x')",
            "redis.call('HGET', ARGV[2], 'f')",
            "redis.call('XINFO', 'CONSUMERS', KEYS[1], 'g')",
            "redis.call('XGROUP', 'SETID', KEYS[1], 'g', '$')",
            "redis.call('XGROUP', 'DELCONSUMER', ARGV[1], 'g', 'c')",
            "redis.call('INFO')",
            "redis.call('XCLAIM', KEYS[1], 'g', 'c', 0, '1-1', 'IDLE', 5)",
            "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', 5, 'STREAMS', KEYS[1], '>')",
            "redis.call('XPENDING', KEYS[1], 'g', '-', '+', 5, 'c')",
            "local t = redis.call('TIME')\nreturn t[1]",
            "for i = 1, n do x() end",
            "for key in pairs(t) do x() end",
            "while true do end",
            "return unpack(t)",
            "return loadstring('x')",
            "redis.setresp(3)",
            "return 5 / 2",
        ] {
            assert_eq!(violations(bad).len(), 1, "{bad}: {:?}", violations(bad));
        }
        assert_eq!(Dragonfly::default().violations_in_script("#!lua\nreturn 1").len(), 4);
    }
}
