//! mosquitto's `password_file`: `NAME:HASH` a line.

use super::Trouble;
use crate::admin::Secret;

/// A user of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Where, from 1.
    pub line: usize,
    pub name: String,
    pub hash: Secret,
}

/// Reads the text: what can be taken, and what is wrong with the rest. No complaint quotes a password.
pub(super) fn read(text: &str) -> (Vec<User>, Vec<Trouble>) {
    let (mut users, mut troubles) = (Vec::<User>::new(), Vec::new());
    for (at, raw) in text.lines().enumerate() {
        let (line, raw) = (at + 1, raw.trim_end_matches('\r'));
        if raw.trim().is_empty() || raw.starts_with('#') {
            continue;
        }
        let trouble = |what: String, remedy: &str| Trouble { line, what, remedy: remedy.to_owned() };
        let Some((name, hash)) = raw.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            troubles.push(trouble("is no NAME:HASH".to_owned(), "remove it, or make it one with mosquitto_passwd"));
            continue;
        };
        if !hash.starts_with('$') {
            let what = format!("{name}: the password is not hashed");
            troubles.push(trouble(what, "run `mosquitto_passwd -U FILE` on a copy of the file"));
        } else if let Some(first) = users.iter().find(|user| user.name == name) {
            let what = format!("{name}: is in line {} already", first.line);
            troubles.push(trouble(what, "remove the line that does not count"));
        } else {
            users.push(User { line, name: name.to_owned(), hash: Secret(hash.to_owned()) });
        }
    }
    (users, troubles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_taken_is_said_with_its_line_and_never_quoted() {
        let (users, troubles) = read("# who\n\nanna:$7$a\r\nhush\nbert:hush-hush\n:$7$x\nanna:$6$b\ncaro:$6$c\n");
        let names: Vec<_> = users.iter().map(|user| (user.line, user.name.as_str())).collect();
        assert_eq!(names, [(3, "anna"), (8, "caro")]);
        assert_eq!(users.first().map(|user| user.hash.0.as_str()), Some("$7$a"));
        assert_eq!(troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [4, 5, 6, 7]);
        assert!(troubles.iter().all(|trouble| !format!("{trouble:?}").contains("hush")), "{troubles:?}");
    }
}
