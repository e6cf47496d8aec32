//! The syntax of commands as `tests/data/dragonfly-options.txt` writes it, and which of a command's arguments are keys.

/// One line of the file.
#[derive(Clone, Debug)]
pub(super) struct Syntax(Vec<Node>);

#[derive(Clone, Debug)]
enum Node {
    /// One of these words.
    Words(Vec<String>),
    /// An argument of this sort.
    Value(String),
    Optional(Vec<Node>),
    /// Once or more often.
    Many(Vec<Node>),
}

impl Syntax {
    pub(super) fn parse(line: &str) -> Self {
        let mut spaced = line.replace("...", " ... ");
        for bracket in ["[", "]", "(", ")"] {
            spaced = spaced.replace(bracket, &format!(" {bracket} "));
        }
        let mut words = spaced.split_whitespace();
        Self(nodes(&mut words))
    }

    /// Which arguments are keys, when the command has this syntax.
    pub(super) fn keys(&self, command: &[String]) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        fits(&self.0, command, &mut keys).then_some(keys)
    }

    /// Whether such a command has a key.
    pub(super) fn has_keys(&self) -> bool {
        self.0.iter().any(|node| match node {
            Node::Many(inner) => matches!(inner.as_slice(), [Node::Value(sort), ..] if sort == "key"),
            Node::Value(sort) => sort == "key",
            _ => false,
        })
    }

    /// Whether commands that begin with these words can have this syntax.
    pub(super) fn begins_with(&self, words: &[&str]) -> bool {
        words.iter().zip(&self.0).all(|(word, node)| match node {
            Node::Words(allowed) => allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(word)),
            _ => false,
        })
    }
}

/// Reads up to the closing bracket.
fn nodes<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "]" | ")" => break,
            "[" => nodes.push(Node::Optional(self::nodes(words))),
            "(" => nodes.push(Node::Many(self::nodes(words))),
            "..." => match nodes.pop().expect("`...` stands after something") {
                many @ Node::Many(_) => nodes.push(many),
                single => nodes.push(Node::Many(vec![single])),
            },
            word if word.chars().any(char::is_lowercase) => nodes.push(Node::Value(word.to_owned())),
            word => nodes.push(Node::Words(word.split('|').map(str::to_owned).collect())),
        }
    }
    nodes
}

fn fits(nodes: &[Node], arguments: &[String], keys: &mut Vec<String>) -> bool {
    let Some((node, rest)) = nodes.split_first() else { return arguments.is_empty() };
    match node {
        Node::Optional(inner) => fits(&[inner, rest].concat(), arguments, keys) || fits(rest, arguments, keys),
        Node::Many(inner) => {
            fits(&[inner, nodes].concat(), arguments, keys) || fits(&[inner, rest].concat(), arguments, keys)
        }
        Node::Words(words) => {
            let Some((argument, others)) = arguments.split_first() else { return false };
            words.iter().any(|word| word.eq_ignore_ascii_case(argument)) && fits(rest, others, keys)
        }
        Node::Value(sort) if sort == "arguments" => true,
        Node::Value(sort) => {
            let Some((argument, others)) = arguments.split_first() else { return false };
            value_fits(sort, argument, others, (rest, keys))
        }
    }
}

fn value_fits(sort: &str, argument: &str, others: &[String], (rest, keys): (&[Node], &mut Vec<String>)) -> bool {
    let n_keys = keys.len();
    let others = match sort {
        "key" if argument == ">" || is_id(argument) => return false,
        "key" => {
            keys.push(argument.to_owned());
            others
        }
        "numkeys" => {
            let declared = argument.parse().ok().and_then(|n: usize| others.split_at_checked(n));
            let Some((declared, others)) = declared else { return false };
            keys.extend_from_slice(declared);
            others
        }
        "n" if argument.parse::<i64>().is_err() => return false,
        "id" if !is_id(argument) => return false,
        "block-ms" if !argument.parse().is_ok_and(|ms: u32| (1..=2_000).contains(&ms)) => return false,
        _ => others,
    };
    let fit = fits(rest, others, keys);
    if !fit {
        keys.truncate(n_keys);
    }
    fit
}

fn is_id(argument: &str) -> bool {
    let id = argument.strip_prefix('(').unwrap_or(argument);
    matches!(id, "-" | "+" | "$") || id.split('-').count() <= 2 && id.split('-').all(|part| part.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(syntax: &str, command: &str) -> Option<Vec<String>> {
        Syntax::parse(syntax).keys(&command.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_and_repetitions_are_understood() {
        let set = "SET key value [NX|XX] [PX n]";
        assert_eq!(keys(set, "SET k v nx PX 5").unwrap(), ["k"]);
        assert!(keys(set, "SET k v PX soon").is_none());
        assert!(keys(set, "SET k v NX XX").is_none());
        let add = "ZADD key [GT] (score member)...";
        assert!(keys(add, "ZADD k GT 1 a 2 b").is_some());
        assert!(keys(add, "ZADD k 1 a 2").is_none());
    }

    #[test]
    fn keys_are_found_wherever_they_stand() {
        assert_eq!(keys("EVALSHA digest numkeys arguments", "EVALSHA d 2 a b c").unwrap(), ["a", "b"]);
        assert!(keys("EVALSHA digest numkeys arguments", "EVALSHA d 3 a b").is_none());
        let read = "XREADGROUP GROUP group consumer [BLOCK block-ms] STREAMS key... >...";
        assert_eq!(keys(read, "XREADGROUP GROUP g c BLOCK 2000 STREAMS a b > >").unwrap(), ["a", "b"]);
        assert!(keys(read, "XREADGROUP GROUP g c BLOCK 0 STREAMS a >").is_none());
        assert!(keys(read, "XREADGROUP GROUP g c STREAMS a b > 0").is_none());
    }
}
