//! Lines as MONITOR writes them: `1700000000.123456 [0 127.0.0.1:5000] "GET" "key"`.

/// A command that the server ran.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// By a script, not by a client.
    pub(super) in_script: bool,
    /// The command and its arguments; a byte stands for a character.
    pub(super) command: Vec<String>,
}

/// Reads one line; none when it is something else.
pub(super) fn read(line: &str) -> Option<Ran> {
    let (_, rest) = line.split_once(" [")?;
    let (origin, quoted) = rest.split_once("] ")?;
    let mut command = Vec::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        if character == '"' {
            command.push(argument(&mut characters)?);
        }
    }
    (!command.is_empty()).then(|| Ran { in_script: origin.ends_with(" lua"), command })
}

/// Reads up to the closing quote.
fn argument(characters: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut argument = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(argument),
            '\\' => argument.push(match characters.next()? {
                'x' => {
                    let digits: String = characters.by_ref().take(2).collect();
                    char::from(u8::from_str_radix(&digits, 16).ok()?)
                }
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'a' => '\x07',
                'b' => '\x08',
                itself => itself,
            }),
            plain => argument.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_arguments_are_read() {
        let ran = read(r#"17.1 [0 127.0.0.1:5] "SET" "a \"b\\" "\xff\n""#).unwrap();
        assert_eq!((ran.in_script, ran.command), (false, ["SET", "a \"b\\", "\u{ff}\n"].map(str::to_owned).to_vec()));
        assert!(read(r#"17.1 [0 lua] "TIME""#).unwrap().in_script);
        assert!(read("OK").is_none());
    }
}
