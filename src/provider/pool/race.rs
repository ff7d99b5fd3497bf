//! One request and the services that are asked for it, one after the other and, where one is slow, side by side.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::gate::Patience;
use super::metrics::Hedge;
use super::order::{Choice, order};
use super::ticket::Ticket;
use super::{Inner, Route, Want, number, retry};
use crate::provider::{ErrorKind, ProviderError, Urgency};

/// Requests that may be asked twice in a row before the share counts.
const SAVED: f64 = 3.0;

/// How many requests may be asked twice: each request saves a share of one.
#[derive(Debug)]
pub(super) struct Allowance {
    share: f64,
    saved: Mutex<f64>,
}

impl Allowance {
    pub(super) fn new(percent: u32) -> Self {
        Self { share: f64::from(percent) / 100.0, saved: Mutex::new(1.0) }
    }

    fn save(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        *saved = (*saved + self.share).min(SAVED);
    }

    fn spend(&self) -> bool {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *saved >= 1.0;
        *saved -= f64::from(u8::from(enough));
        enough
    }
}

/// Who is still to be asked, and what came of those that were.
struct Course {
    /// Who is to be asked first: all others stand in.
    chosen: Option<usize>,
    rest: Vec<usize>,
    /// Those that may be asked again, and why they failed.
    failed: Vec<(usize, ProviderError)>,
    last: Option<ProviderError>,
    any: bool,
    busy: bool,
    /// How long it has waited for services that were at their limits.
    waited: Duration,
    retries: u32,
}

/// The first of an answer.
pub(super) struct Won<P: ?Sized, A> {
    pub(super) answer: A,
    pub(super) ticket: Ticket<P>,
    /// It is not that of the service that was to be asked first.
    pub(super) stood_in: bool,
}

/// Why somebody else is asked too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    /// It takes longer than it usually does.
    ThanUsual,
    /// It takes longer than anybody should wait.
    TooLong,
}

type Calls<'a, A> = FuturesUnordered<BoxFuture<'a, (usize, Result<A, ProviderError>)>>;

/// Those that are asked now.
struct Race<'a, P: ?Sized, A> {
    calls: Calls<'a, A>,
    tickets: Vec<Ticket<P>>,
    /// The service that was asked too because the other took longer than usual.
    hedged: Option<usize>,
    usual: Option<Instant>,
    longest: Option<Instant>,
}

/// What happens next in a race.
enum Step<A> {
    Ended(usize, Result<A, ProviderError>),
    Late(Late),
}

impl<P: ?Sized, A> Race<'_, P, A> {
    async fn step(&mut self) -> Step<A> {
        let far = || Instant::now() + Duration::from_hours(1);
        let (usual, longest) = (self.usual, self.longest);
        tokio::select! {
            biased;
            Some((n, ended)) = self.calls.next() => Step::Ended(n, ended),
            () = sleep_until(usual.unwrap_or_else(far)), if usual.is_some() => Step::Late(Late::ThanUsual),
            () = sleep_until(longest.unwrap_or_else(far)), if longest.is_some() => Step::Late(Late::TooLong),
        }
    }

    fn take(&mut self, n: usize) -> Option<Ticket<P>> {
        let at = self.tickets.iter().position(|ticket| ticket.n() == n)?;
        Some(self.tickets.swap_remove(at))
    }
}

impl<P: ?Sized + Send + Sync + 'static> Inner<P> {
    /// Asks until somebody has a first answer. `call` resolves with the first of it.
    pub(super) async fn run<'a, A: Send + 'a>(
        self: &Arc<Self>,
        want: Want,
        call: impl Fn(&Arc<P>, usize) -> BoxFuture<'a, Result<A, ProviderError>>,
    ) -> Result<Won<P, A>, ProviderError> {
        let mut course = self.course(want);
        let calls = Calls::new();
        let mut race = Race { calls, tickets: Vec::new(), hedged: None, usual: None, longest: None };
        self.allowance.save();
        loop {
            if race.tickets.is_empty() {
                let ticket = self.next(&mut course, want).await?;
                self.start(&mut race, ticket, want, &call);
            }
            match race.step().await {
                Step::Ended(n, Ok(answer)) => {
                    let Some(mut ticket) = race.take(n) else { continue };
                    self.note_hedge(&race, Some(n));
                    race.tickets.drain(..).for_each(Ticket::outrun);
                    ticket.heard();
                    return Ok(Won { answer, ticket, stood_in: course.chosen != Some(n) });
                }
                Step::Ended(n, Err(error)) => {
                    let Some(ticket) = race.take(n) else { continue };
                    ticket.failed(&error);
                    if race.tickets.is_empty() {
                        self.note_hedge(&race, None);
                        race.hedged = None;
                    }
                    course.failed.push((n, error.clone()));
                    course.last = Some(error);
                }
                Step::Late(late) => self.ask_too(&mut race, &mut course, late, want, &call),
            }
        }
    }

    fn course(&self, want: Want) -> Course {
        let choice = |route: &Route<P>| Choice {
            weight: route.terms.weight,
            factor: route.why().factor(),
            cost: route.terms.cost,
            suits: route.terms.suits,
        };
        let choices: Vec<Choice> = self.routes.iter().map(choice).collect();
        let mut rest = order(&choices, want.complexity, || self.chance());
        if want.alone {
            rest.truncate(1);
        }
        let (chosen, retries) = (rest.first().copied(), self.settings.retries);
        Course {
            chosen,
            rest,
            failed: Vec::new(),
            last: None,
            any: false,
            busy: false,
            waited: Duration::ZERO,
            retries,
        }
    }

    /// A number of [0, 1).
    fn chance(&self) -> f64 {
        #[allow(clippy::cast_possible_truncation, reason = "the lowest bits are as random as any")]
        let bits = (self.random)() as u32;
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// The next service to ask. Those that are left alone or busy are passed over; when nobody was asked at all, one that
    /// is left alone is; when all have failed, one is asked again.
    async fn next(self: &Arc<Self>, course: &mut Course, want: Want) -> Result<Ticket<P>, ProviderError> {
        let patience = self.settings.patience(want.urgency);
        while !course.rest.is_empty() {
            let n = course.rest.remove(0);
            if let Some(ticket) = self.enter(course, n, want, patience).await {
                return Ok(ticket);
            }
        }
        if !std::mem::replace(&mut course.any, true)
            && let Some(ticket) = self.in_need(course.busy, want).await
        {
            return Ok(ticket);
        }
        if let Some(ticket) = self.again(course, want).await {
            return Ok(ticket);
        }
        Err(course.last.take().unwrap_or_else(|| self.nobody_is_free()))
    }

    async fn enter(
        self: &Arc<Self>,
        course: &mut Course,
        n: usize,
        want: Want,
        patience: Patience,
    ) -> Option<Ticket<P>> {
        let route = &self.routes[n];
        if !route.breaker.lets_in() {
            self.metrics.asked(self.capability, number(n), "left_alone");
            return None;
        }
        let begun = Instant::now();
        let entered = route.gate.enter(want.urgency, patience.less(course.waited)).await;
        course.waited += begun.elapsed();
        let Ok(slot) = entered else {
            self.metrics.asked(self.capability, number(n), ErrorKind::Busy.name());
            course.busy = true;
            return None;
        };
        let Some(leave) = route.breaker.leave() else {
            self.metrics.asked(self.capability, number(n), "left_alone");
            return None;
        };
        course.any = true;
        Some(Ticket::new(self, n, leave, slot))
    }

    /// Nobody could be asked: the one that is left alone for the shortest time is, or, for what somebody hears already,
    /// the one that is free soonest.
    async fn in_need(self: &Arc<Self>, busy: bool, want: Want) -> Option<Ticket<P>> {
        let all = || self.routes.iter().enumerate();
        let (n, patience) =
            match all().filter(|(_, route)| !route.breaker.lets_in()).min_by_key(|(_, r)| r.breaker.until()) {
                Some((n, _)) => (n, self.settings.patience(want.urgency)),
                None if busy && want.begun => (all().min_by_key(|(_, r)| r.gate.wait())?.0, self.settings.patient()),
                None => return None,
            };
        let route = &self.routes[n];
        let slot = route.gate.enter(want.urgency, patience).await.ok()?;
        Some(Ticket::new(self, n, route.breaker.in_need(), slot))
    }

    /// Asks once more where it may help, after a pause.
    async fn again(self: &Arc<Self>, course: &mut Course, want: Want) -> Option<Ticket<P>> {
        let attempt = self.settings.retries - course.retries;
        course.retries = course.retries.checked_sub(1)?;
        let chance = self.chance();
        let worth = |(n, error): &(usize, ProviderError)| Some((*n, retry::pause(error, attempt, chance)?));
        let (n, pause) = course.failed.iter().filter_map(worth).min_by_key(|(_, pause)| *pause)?;
        tokio::time::sleep(pause).await;
        course.failed.retain(|(failed, _)| *failed != n);
        let route = &self.routes[n];
        let slot = route.gate.enter(want.urgency, self.settings.patience(want.urgency)).await.ok()?;
        self.metrics.retried(self.capability);
        Some(Ticket::new(self, n, route.breaker.leave().unwrap_or_else(|| route.breaker.in_need()), slot))
    }

    fn start<'a, A: Send + 'a>(
        &self,
        race: &mut Race<'a, P, A>,
        ticket: Ticket<P>,
        want: Want,
        call: &impl Fn(&Arc<P>, usize) -> BoxFuture<'a, Result<A, ProviderError>>,
    ) {
        let n = ticket.n();
        let answer = call(&self.routes[n].provider, n);
        race.calls.push(Box::pin(async move { (n, answer.await) }));
        let first = race.tickets.is_empty();
        race.tickets.push(ticket);
        if self.routes.len() < 2 {
            return;
        }
        let now = Instant::now();
        race.longest = self.settings.slow_after(want.urgency).map(|time| now + time);
        let usual = || self.routes[n].window().p95(self.clock.mono());
        // a reply that has begun keeps its voice as long as it can
        let hedges = first && self.settings.hedge && want.urgency == Urgency::Turn && !want.begun;
        race.usual = if hedges { usual().map(|time| now + time) } else { None };
    }

    /// Asks the next that is free now, beside those that are asked already.
    fn ask_too<'a, A: Send + 'a>(
        self: &Arc<Self>,
        race: &mut Race<'a, P, A>,
        course: &mut Course,
        late: Late,
        want: Want,
        call: &impl Fn(&Arc<P>, usize) -> BoxFuture<'a, Result<A, ProviderError>>,
    ) {
        match late {
            Late::ThanUsual => race.usual = None,
            Late::TooLong => race.longest = None,
        }
        let free = |n: &usize| {
            let route = &self.routes[*n];
            route.breaker.lets_in() && route.gate.wait().is_zero()
        };
        let Some(at) = course.rest.iter().position(free) else { return };
        if late == Late::ThanUsual && !self.allowance.spend() {
            return;
        }
        let n = course.rest.remove(at);
        let route = &self.routes[n];
        let Ok(slot) = route.gate.try_enter(want.urgency) else { return };
        let Some(leave) = route.breaker.leave() else { return };
        if late == Late::ThanUsual {
            race.hedged = Some(n);
        }
        self.start(race, Ticket::new(self, n, leave, slot), want, call);
    }

    fn note_hedge<A>(&self, race: &Race<'_, P, A>, winner: Option<usize>) {
        let Some(second) = race.hedged else { return };
        let outcome = match winner {
            Some(n) if n == second => Hedge::SecondWon,
            Some(_) => Hedge::FirstWon,
            None => Hedge::Failed,
        };
        self.metrics.hedged(self.capability, outcome);
    }

    fn nobody_is_free(&self) -> ProviderError {
        let what = "every service is at its limit, and the wait for one would be too long";
        ProviderError::new(ErrorKind::Busy, self.capability, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_share_of_the_requests_is_asked_twice() {
        let allowance = Allowance::new(10);
        let twice = (0..1_000)
            .filter(|_| {
                allowance.save();
                allowance.spend()
            })
            .count();
        assert!((95..=103).contains(&twice), "{twice} of 1000");
        let allowance = Allowance::new(10);
        (0..1_000).for_each(|_| allowance.save());
        let in_a_row = (0..100).filter(|_| allowance.spend()).count();
        assert_eq!(in_a_row, 3, "what was saved has a bound");
    }
}
