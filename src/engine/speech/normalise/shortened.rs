//! Short forms: "Dr.", "St.", "e.g.", "U.S.", "Henry VIII".

use super::super::numbers::{ordinal, roman, small};
use super::cursor::{Cursor, Reading};
use super::scan::Kind;
use super::times::month;

/// Before a name. The dictionary reads "Mr", "Mrs" and "Dr" itself, and the tagger knows them better so.
const TITLES: &[(&str, &str)] = &[
    ("Mr", "Mr"),
    ("Mrs", "Mrs"),
    ("Ms", "Miz"),
    ("Dr", "Dr"),
    ("Prof", "Professor"),
    ("St", "Saint"),
    ("Mt", "Mount"),
    ("Ft", "Fort"),
    ("Gen", "General"),
    ("Gov", "Governor"),
    ("Sen", "Senator"),
    ("Rep", "Representative"),
    ("Capt", "Captain"),
    ("Lt", "Lieutenant"),
    ("Col", "Colonel"),
    ("Sgt", "Sergeant"),
    ("Rev", "Reverend"),
    ("Hon", "Honorable"),
    ("Pres", "President"),
];

/// Anywhere, with their full stop.
const SHORT: &[(&str, &str)] = &[
    ("St", "Street"),
    ("Dr", "Drive"),
    ("Jr", "Junior"),
    ("Sr", "Senior"),
    ("Ave", "Avenue"),
    ("Blvd", "Boulevard"),
    ("Rd", "Road"),
    ("Ln", "Lane"),
    ("Hwy", "Highway"),
    ("Apt", "Apartment"),
    ("Bldg", "Building"),
    ("Ltd", "Limited"),
    ("Inc", "Incorporated"),
    ("Corp", "Corporation"),
    ("Co", "Company"),
    ("Bros", "Brothers"),
    ("Dept", "Department"),
    ("Univ", "University"),
    ("Govt", "Government"),
    ("approx", "approximately"),
    ("est", "established"),
    ("etc", "etcetera"),
    ("vs", "versus"),
    ("vol", "volume"),
    ("fig", "figure"),
    ("pp", "pages"),
    ("cf", "compare"),
    ("tel", "telephone"),
    ("min", "minutes"),
    ("max", "maximum"),
    ("Mon", "Monday"),
    ("Tue", "Tuesday"),
    ("Tues", "Tuesday"),
    ("Wed", "Wednesday"),
    ("Thu", "Thursday"),
    ("Thurs", "Thursday"),
    ("Fri", "Friday"),
    ("Sat", "Saturday"),
    ("Sun", "Sunday"),
];

/// Before a number in Roman letters that is counted ("Chapter Four").
const COUNTED: &[&str] = &[
    "act", "apollo", "appendix", "article", "book", "chapter", "class", "episode", "grade", "level", "mark", "part",
    "phase", "rocky", "round", "scene", "section", "stage", "type", "volume", "war",
];
/// Before one in a row of rulers ("Henry the Eighth").
const RULERS: &[&str] = &[
    "alexander",
    "benedict",
    "catherine",
    "charles",
    "edward",
    "elizabeth",
    "ferdinand",
    "francis",
    "frederick",
    "george",
    "gustav",
    "henry",
    "ivan",
    "james",
    "john",
    "king",
    "leo",
    "louis",
    "napoleon",
    "nicholas",
    "paul",
    "peter",
    "philip",
    "pius",
    "pope",
    "queen",
    "ramses",
    "richard",
    "victor",
    "william",
];

/// "Dr. Smith", "Main St.", "etc."
pub(super) fn abbreviation(cursor: Cursor<'_>) -> Option<Reading> {
    let short = cursor.letters(0).filter(|_| !cursor.tight(0))?;
    let dot = cursor.tight_sign(1, '.');
    let before_name = cursor.letters(1 + usize::from(dot)).is_some_and(|name| name.starts_with(char::is_uppercase))
        && !cursor.tight(1 + usize::from(dot));
    let behind_name =
        cursor.before().is_some_and(|before| before.text.starts_with(char::is_uppercase) && before.text.len() > 2);
    let house_number =
        cursor.at.checked_sub(2).is_some_and(|at| cursor.pieces[at].text.bytes().all(|b| b.is_ascii_digit()));
    // "12 Main St. Apt. 4" and "in Main St.", but "Mount St. Helens".
    let address = matches!(short, "St" | "Dr") && behind_name && dot && (!before_name || house_number);
    if before_name
        && !address
        && let Some((_, title)) = TITLES.iter().find(|title| title.0 == short)
    {
        return Reading::new(1 + usize::from(dot), *title);
    }
    if short == "p" && dot && cursor.digits(2).is_some() {
        return Reading::new(2, "page");
    }
    if !dot {
        return (short == "vs").then(|| Reading::new(1, "versus")).flatten();
    }
    let words = match month(short).filter(|_| short != "May" && short.len() < 5) {
        Some(month) => month,
        None => full_form(short)?,
    };
    let stop = if cursor.ends_sentence(2) { "." } else { "" };
    Reading::new(2, format!("{words}{stop}"))
}

fn full_form(short: &str) -> Option<&'static str> {
    let lower = short.to_lowercase();
    let doctor = (short == "Dr").then_some("Dr");
    let known = SHORT.iter().find(|known| known.0 == short || known.0 == lower).map(|known| known.1);
    known.or(doctor).or_else(|| TITLES.iter().find(|title| title.0 == short).map(|title| title.1))
}

/// "U.S.", "e.g.", "J. K. Rowling": single letters with full stops.
pub(super) fn dotted(cursor: Cursor<'_>) -> Option<Reading> {
    let mut letters: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(letter) =
        cursor.letters(at).filter(|letter| letter.chars().count() <= 2 && (at == 0 || cursor.tight(at)))
    {
        if letter.chars().count() == 2 && letters.is_empty() && letter != "Ph" || !cursor.tight_sign(at + 1, '.') {
            break;
        }
        letters.push(letter);
        at += 2;
    }
    let last =
        cursor.letters(at).filter(|letter| letters.len() == 1 && cursor.tight(at) && letter.chars().count() == 1);
    if let Some(last) = last {
        letters.push(last);
        at += 1;
    }
    if letters.len() == 1 {
        // An initial: only a capital before a name, so that "plan B." ends a sentence.
        let name = cursor.letters(2).is_some_and(|name| name.starts_with(char::is_uppercase));
        let initial = letters[0].chars().all(char::is_uppercase) && letters[0] != "I" && name;
        let first =
            cursor.before().is_none_or(|before| before.text.starts_with(char::is_uppercase) || before.text == ".");
        return (initial && first).then(|| Reading::new(2, letters[0])).flatten();
    }
    let joined = letters.concat().to_lowercase();
    let words = match joined.as_str() {
        "" => return None,
        "eg" => "for example".to_owned(),
        "ie" => "that is".to_owned(),
        _ => letters.concat().to_uppercase().chars().map(String::from).collect::<Vec<_>>().join("."),
    };
    // A capital behind it is no sign: "the U.S. Army".
    let last = cursor.piece(at).is_none_or(|next| next.kind == Kind::Line);
    Reading::new(at, if last { words + "." } else { words })
}

/// "Chapter IV", "Henry VIII", "World War II".
pub(super) fn numeral(cursor: Cursor<'_>) -> Option<Reading> {
    let letters = cursor.letters(0).filter(|_| !cursor.tight(0) && !cursor.tight(1) || cursor.sign(1).is_some())?;
    let value = roman(letters)?;
    let cue = cursor.before()?.text.to_lowercase();
    // "I" is a word of its own, and so may be any other single letter behind a ruler.
    if COUNTED.contains(&cue.as_str()) && letters != "I" {
        return Reading::new(1, small(value));
    }
    let ruler = RULERS.contains(&cue.as_str()) && letters.len() > 1
        || letters == "V" && RULERS.contains(&cue.as_str()) && cursor.sign(1).is_none();
    ruler.then(|| Reading::new(1, format!("the {}", ordinal(&value.to_string())))).flatten()
}
