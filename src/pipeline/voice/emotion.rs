//! The face that goes with a reply: that of the first picture of a face in it, by the names that firmware knows.

/// Pictures, and the faces that they are.
const FACES: [(&str, &str); 21] = [
    ("neutral", "😐😶🙂😑"),
    ("happy", "😀😄😃😊☺😁"),
    ("laughing", "😂🤣😆"),
    ("funny", "🤪🤡😜😝"),
    ("sad", "😢☹🙁😞😔😟"),
    ("angry", "😠😡🤬😤"),
    ("crying", "😭😿"),
    ("loving", "😍🥰❤💕💖💗"),
    ("embarrassed", "😳😅"),
    ("surprised", "😮😯😲"),
    ("shocked", "😱🤯😨😧"),
    ("thinking", "🤔🧐💭"),
    ("winking", "😉"),
    ("cool", "😎🆒"),
    ("relaxed", "😌"),
    ("delicious", "😋🤤"),
    ("kissy", "😘😗😙😚"),
    ("confident", "😏💪😼"),
    ("sleepy", "😴🥱😪"),
    ("silly", "😛🤭"),
    ("confused", "😕🤷🙄😵"),
];

/// The face of the first picture in a text; none where there is none.
pub(super) fn of(text: &str) -> Option<&'static str> {
    text.chars().find_map(face)
}

fn face(picture: char) -> Option<&'static str> {
    FACES.iter().find(|(_, pictures)| pictures.contains(picture)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_picture_of_a_face_counts() {
        assert_eq!(of("Well 🚗 done 😀 or not 😭"), Some("happy"));
        assert_eq!(of("I ❤️ it"), Some("loving"));
        assert_eq!(of("plain words"), None);
    }

    #[test]
    fn no_picture_is_two_faces() {
        for (name, pictures) in FACES {
            assert!(pictures.chars().all(|picture| face(picture) == Some(name)), "{name}");
        }
    }
}
