//! What is dialled or typed: telephone numbers, web and mail addresses.

use super::super::numbers::{cardinal, one_by_one};
use super::cursor::{Cursor, Reading};
use super::scan::{Kind, Piece};

/// Endings that make a name with dots an address even without "www".
const DOMAINS: &[&str] = &[
    "com", "org", "net", "edu", "gov", "io", "co", "uk", "de", "fr", "info", "biz", "us", "ca", "au", "tv", "me", "ai",
    "app", "dev", "eu", "cn", "jp",
];
/// Pieces of an address that are read; nobody wants to hear the rest.
const LONGEST_ADDRESS: usize = 16;

/// "555-1234", "(212) 555-1234", "+1 212 555 1234", "1-800-555-1234": digit by digit, a pause between groups.
pub(super) fn phone(cursor: Cursor<'_>) -> Option<Reading> {
    if !cursor.starts_chunk() {
        return None;
    }
    let plus = cursor.is(0, '+') && cursor.tight_digits(1, 1..=15).is_some();
    let mut at = usize::from(plus);
    let mut groups: Vec<&str> = Vec::new();
    let bracket = cursor.is(at, '(') && cursor.is(at + 2, ')');
    if bracket {
        groups.push(cursor.tight_digits(at + 1, 2..=4)?);
        at += 3;
    }
    loop {
        let separated = groups.is_empty() || matches!(cursor.sign(at), Some('-' | '.')) && cursor.tight(at);
        let sign = usize::from(separated && !groups.is_empty());
        let spaced = (plus || bracket) && !cursor.is(at, '-');
        let Some(group) = cursor.digits(at + sign).filter(|_| separated || spaced) else { break };
        if sign == 1 && !cursor.tight(at + sign) {
            break;
        }
        groups.push(group);
        at += sign + 1;
    }
    if !looks_dialled(&groups, plus, bracket) || cursor.tight_letters(at).is_some() {
        return None;
    }
    let groups: Vec<String> = groups.iter().map(|group| one_by_one(group)).collect();
    Reading::new(at, format!("{}{}", if plus { "plus " } else { "" }, groups.join(", ")))
}

/// With a plus or brackets seven digits will do; without, the groups must be those of a number in America.
fn looks_dialled(groups: &[&str], plus: bool, bracket: bool) -> bool {
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits: usize = lengths.iter().sum();
    if plus || bracket {
        return (7..=15).contains(&digits);
    }
    matches!(lengths.as_slice(), [3, 4] | [3, 3, 4] | [1, 3, 3, 4])
}

/// "https://example.com/page", "mail me@example.org", "example.com".
pub(super) fn address(cursor: Cursor<'_>) -> Option<Reading> {
    if !cursor.starts_chunk() {
        return None;
    }
    let mut chunk = chunk(cursor);
    while let Some(last) = chunk.last()
        && last.kind == Kind::Sign
        && !matches!(last.text.as_str(), "/")
    {
        chunk = &chunk[..chunk.len() - 1];
    }
    is_address(chunk).then(|| Reading::new(chunk.len(), spoken(chunk))).flatten()
}

/// The target of a link written as "[text](target)" is not read: from its bracket to the closing one.
pub(super) fn link_target(cursor: Cursor<'_>) -> Option<Reading> {
    if !cursor.is(0, ']') || !cursor.tight_sign(1, '(') {
        return None;
    }
    let target = chunk(Cursor { at: cursor.at + 2, ..cursor });
    let end = target.iter().position(|piece| piece.text == ")")?;
    Reading::new(end + 3, "")
}

/// The bracket here begins the text of such a link.
pub(super) fn opens_link(cursor: Cursor<'_>) -> bool {
    const LONGEST_TEXT: usize = 60;
    let end = (1..LONGEST_TEXT).find(|&offset| cursor.is(offset, ']'));
    end.is_some_and(|end| link_target(Cursor { at: cursor.at + end, ..cursor }).is_some())
}

/// From here to the next space.
fn chunk(cursor: Cursor<'_>) -> &[Piece] {
    let rest = &cursor.pieces[cursor.at.min(cursor.pieces.len())..];
    let behind = rest.iter().skip(1).take_while(|piece| !piece.spaced && piece.kind != Kind::Line).count();
    &rest[..(behind + 1).min(rest.len())]
}

fn is_address(chunk: &[Piece]) -> bool {
    let Some(first) = chunk.first().filter(|first| first.kind != Kind::Sign) else { return false };
    let has = |sign: &str| chunk.iter().any(|piece| piece.text == sign);
    let web = first.text.eq_ignore_ascii_case("www") && has(".");
    after_scheme(chunk).is_some() || web || (has("@") && has(".")) || names_a_host(chunk)
}

/// What stands behind "https://".
fn after_scheme(chunk: &[Piece]) -> Option<&[Piece]> {
    let scheme = chunk.get(1..4)?.iter().map(|piece| piece.text.as_str()).eq([":", "/", "/"]);
    scheme.then(|| &chunk[4..])
}

/// "example.com", with or without a path.
fn names_a_host(chunk: &[Piece]) -> bool {
    let host = chunk.split(|piece| matches!(piece.text.as_str(), "/" | ":" | "?")).next().unwrap_or_default();
    let [.., dot, domain] = host else { return false };
    let plain = host.iter().all(|piece| piece.kind != Kind::Sign || matches!(piece.text.as_str(), "." | "-"));
    plain && host.len() > 2 && dot.text == "." && DOMAINS.contains(&domain.text.to_lowercase().as_str())
}

/// An address aloud, without its scheme and without a closing slash.
fn spoken(chunk: &[Piece]) -> String {
    let mut rest = after_scheme(chunk).unwrap_or(chunk);
    if let Some((last, before)) = rest.split_last()
        && last.text == "/"
    {
        rest = before;
    }
    let words = rest.iter().take(LONGEST_ADDRESS).filter_map(|piece| match (piece.kind, piece.text.as_str()) {
        (Kind::Digits, digits) if digits.len() < 3 => Some(cardinal(digits)),
        (Kind::Digits, digits) => Some(one_by_one(digits)),
        (Kind::Letters, "www") => Some("W.W.W".to_owned()),
        (Kind::Letters, word) => Some(word.to_owned()),
        (_, sign) => name(sign).map(ToOwned::to_owned),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn name(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "." => "dot",
        "/" => "slash",
        "-" => "dash",
        "_" => "underscore",
        "@" => "at",
        ":" => "colon",
        "?" => "question mark",
        "=" => "equals",
        "&" => "and",
        "+" => "plus",
        "#" => "hash",
        "%" => "percent",
        "~" => "tilde",
        _ => return None,
    })
}
