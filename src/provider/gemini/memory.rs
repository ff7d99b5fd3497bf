//! What has to be remembered of calls until they are answered: the signature of the model, without which newer models
//! refuse the answer, and whether the id is the service's own.
//!
//! It is kept here, and not in the conversation, because no other vendor has anything of the kind. What is forgotten
//! (the oldest, and all at a restart) costs an answer at worst, not a session.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Calls that are remembered: more than are waited for at any one time.
const CALLS: usize = 256;
/// A longer signature is none.
const SIGNATURE: usize = 16 << 10;
/// Ids that are made here begin so: the service gives none, or its own.
const OURS: &str = "voxgate-";

/// The memory of one model.
#[derive(Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    made: u64,
    signatures: VecDeque<(String, String)>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// Remembers a call; its id, which is made where the service gives none.
    pub(super) fn keep(&self, id: Option<String>, signature: Option<String>) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            kept.made += 1;
            format!("{OURS}{}", kept.made)
        });
        if let Some(signature) = signature.filter(|signature| signature.len() <= SIGNATURE) {
            if kept.signatures.len() >= CALLS {
                kept.signatures.pop_front();
            }
            kept.signatures.push_back((id.clone(), signature));
        }
        id
    }

    /// What the model signed a call with.
    pub(super) fn signature(&self, id: &str) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.signatures.iter().rev().find(|(known, _)| known == id).map(|(_, signature)| signature.clone())
    }
}

/// The id, where it is one that the service gave.
pub(super) fn given(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.starts_with(OURS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_an_id_of_its_own_and_the_oldest_signature_is_forgotten() {
        let memory = Memory::default();
        let first = memory.keep(None, Some("s".into()));
        assert_ne!(memory.keep(None, None), first);
        assert_eq!(memory.keep(Some("theirs".into()), Some("x".repeat(SIGNATURE + 1))), "theirs");
        assert_eq!((given(&first), given("theirs")), (None, Some("theirs")));
        assert_eq!((memory.signature(&first).as_deref(), memory.signature("theirs")), (Some("s"), None));
        for n in 0..CALLS {
            memory.keep(Some(n.to_string()), Some(n.to_string()));
        }
        assert_eq!((memory.signature(&first), memory.signature("0").as_deref()), (None, Some("0")));
    }
}
