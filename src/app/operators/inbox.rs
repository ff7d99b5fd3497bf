//! Messages that were taken in and are not done, for operators.

use super::records::store_error;
use crate::admin::{AdminError, AdminErrorKind, InboxName, InboxQuery, InboxRow};
use crate::domain::Wall;
use crate::store::records::{Inbox, inboxes};
use crate::store::{Batch, Store};

/// Messages that one listing gives unless it is told how many, and at most.
const LISTED: usize = 100;
const MOST: usize = 1_000;

pub(super) async fn list(store: &dyn Store, query: InboxQuery) -> Result<Vec<InboxRow>, AdminError> {
    let limit = if query.limit == 0 { LISTED } else { query.limit.min(MOST) };
    let waiting = match &query.device {
        _ if query.put_aside => Ok(Vec::new()),
        Some(device) => inboxes::list(store, device, limit).await,
        None => inboxes::list_all(store, limit).await,
    };
    let waiting = waiting.map_err(|e| store_error(&e))?;
    let aside = inboxes::list_quarantined(store, query.device.as_ref(), limit).await.map_err(|e| store_error(&e))?;
    let mut rows: Vec<InboxRow> = waiting.into_iter().map(|message| row(message, "waiting", String::new())).collect();
    rows.extend(aside.into_iter().map(|aside| row(aside.message, "put_aside", aside.reason)));
    Ok(rows)
}

fn row(message: Inbox, state: &str, reason: String) -> InboxRow {
    let Inbox { n, device, kind, received, not_after, attempts, .. } = message;
    InboxRow { device, n, kind: kind.name().to_owned(), state: state.to_owned(), received, not_after, attempts, reason }
}

pub(super) async fn retry(store: &dyn Store, message: &InboxName, now: Wall) -> Result<(), AdminError> {
    let mut batch = Batch::new();
    let found = inboxes::retry_quarantined(store, &mut batch, &message.device, message.n, now).await;
    write(store, batch, found.map_err(|e| store_error(&e))?, message).await
}

pub(super) async fn forget(store: &dyn Store, message: &InboxName) -> Result<(), AdminError> {
    let mut batch = Batch::new();
    let found = inboxes::drop_quarantined(store, &mut batch, &message.device, message.n).await;
    write(store, batch, found.map_err(|e| store_error(&e))?, message).await
}

async fn write(store: &dyn Store, batch: Batch, found: bool, message: &InboxName) -> Result<(), AdminError> {
    if !found {
        let text = format!(
            "no message {} of {} was put aside: voxgate inbox list --put-aside shows which were",
            message.n, message.device
        );
        return Err(AdminError::new(AdminErrorKind::NotFound, text));
    }
    store.commit(batch).await.map(drop).map_err(|e| store_error(&e))
}
