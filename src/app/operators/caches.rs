//! Caches for operators: what they hold, forgetting it, making phrases ahead.

use super::super::caches::Ahead;
use crate::admin::{AdminError, AdminErrorKind, CacheCleared, CacheName, CacheRow, CacheWarmed};
use crate::cache::{Caches, Name};

pub(super) fn stats(caches: &Caches) -> Vec<CacheRow> {
    let row = |held: crate::cache::Held| CacheRow {
        cache: held.name.name().to_owned(),
        on: held.on,
        entries: held.entries,
        bytes: held.bytes,
        hits: held.hits,
        misses: held.misses,
        note: held.note.unwrap_or_default(),
    };
    caches.held().into_iter().map(row).collect()
}

pub(super) async fn clear(caches: &Caches, which: CacheName) -> Result<Vec<CacheCleared>, AdminError> {
    let names = match which {
        CacheName::Chat => vec![Name::Chat],
        CacheName::Speech => vec![Name::Speech],
        CacheName::Transcripts => vec![Name::Transcripts],
        CacheName::All => Name::ALL.to_vec(),
    };
    let mut cleared = Vec::new();
    for name in names {
        let busy = || {
            let text = format!("the {} cache has too much to do: try again", name.name());
            AdminError::new(AdminErrorKind::Conflict, text)
        };
        let entries = caches.clear(name).await.ok_or_else(busy)?;
        cleared.push(CacheCleared { cache: name.name().to_owned(), entries });
    }
    Ok(cleared)
}

pub(super) async fn warm(ahead: &Ahead) -> Result<CacheWarmed, AdminError> {
    let unfit = ahead.why_not();
    if let Some(why) = unfit {
        return Err(AdminError::new(AdminErrorKind::Conflict, why));
    }
    let made = ahead.make().await;
    let count = |n: usize| n as u64;
    Ok(CacheWarmed { made: count(made.made), there: count(made.there), failed: count(made.failed) })
}
