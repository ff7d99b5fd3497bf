//! Answers by the meaning of their questions: vectors in one row of memory, compared one by one.
//!
//! Plain work for a thread of its own. What may be given to one another is apart: questions of one scope only.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Scope;
use super::question::Traits;
use crate::cache::shelf::Moment;

/// The vectors of one scope and what belongs to them, oldest first.
#[derive(Default)]
struct Rows {
    length: usize,
    /// `length` numbers a question, of which the first `gone` questions are forgotten.
    vectors: Vec<f32>,
    gone: usize,
    entries: VecDeque<Entry>,
}

struct Entry {
    traits: Traits,
    answer: Arc<str>,
    made: Moment,
}

impl Rows {
    fn push(&mut self, vector: &[f32], entry: Entry) -> bool {
        if self.entries.is_empty() {
            *self = Self { length: vector.len(), ..Self::default() };
        }
        if vector.len() != self.length || vector.is_empty() {
            return false;
        }
        self.vectors.extend_from_slice(vector);
        self.entries.push_back(entry);
        true
    }

    fn pop(&mut self) {
        if self.entries.pop_front().is_some() {
            self.gone += 1;
        }
        if self.gone > 64 && self.gone * 2 * self.length > self.vectors.len() {
            self.vectors.drain(..self.gone * self.length);
            self.gone = 0;
        }
    }

    /// The nearest question that asks the same, and how near it is.
    fn nearest(
        &self,
        vector: &[f32],
        least: f32,
        since: Moment,
        fits: impl Fn(&Traits) -> bool,
    ) -> Option<(f32, Arc<str>)> {
        if vector.len() != self.length || vector.is_empty() {
            return None;
        }
        let rows = self.vectors[self.gone * self.length..].chunks_exact(self.length);
        let mut best: Option<(f32, &Entry)> = None;
        for (row, entry) in rows.zip(&self.entries) {
            let near = dot(row, vector);
            let better = near >= best.map_or(least, |(best, _)| best);
            if better && entry.made > since && fits(&entry.traits) {
                best = Some((near, entry));
            }
        }
        best.map(|(near, entry)| (near, Arc::clone(&entry.answer)))
    }
}

/// All of them.
pub(super) struct Meanings {
    scopes: HashMap<Scope, Rows>,
    /// In the order in which they were made.
    order: VecDeque<(Scope, Moment)>,
    most: usize,
    ttl: Moment,
}

impl Meanings {
    pub(super) fn new(most: usize, ttl: Moment) -> Self {
        Self { scopes: HashMap::new(), order: VecDeque::new(), most, ttl }
    }

    /// Keeps an answer; gives how many had to go because they were old, and for room.
    pub(super) fn keep(
        &mut self,
        scope: Scope,
        vector: &[f32],
        about: (Traits, Arc<str>),
        now: Moment,
    ) -> (usize, usize) {
        let old = self.expire(now);
        let Some(vector) = unit(vector) else { return (old, 0) };
        let entry = Entry { traits: about.0, answer: about.1, made: now };
        if !self.scopes.entry(scope).or_default().push(&vector, entry) {
            return (old, 0);
        }
        self.order.push_back((scope, now));
        let mut room = 0;
        while self.order.len() > self.most {
            self.pop();
            room += 1;
        }
        (old, room)
    }

    /// The answer to the nearest question of at least this cosine that asks the same.
    pub(super) fn nearest(
        &self,
        scope: &Scope,
        vector: &[f32],
        least: f32,
        traits: &Traits,
        now: Moment,
    ) -> Option<(f32, Arc<str>)> {
        let vector = unit(vector)?;
        let since = now.saturating_sub(self.ttl);
        self.scopes.get(scope)?.nearest(&vector, least, since, |other| traits.agree(other))
    }

    fn expire(&mut self, now: Moment) -> usize {
        let mut gone = 0;
        while self.order.front().is_some_and(|(_, made)| now.saturating_sub(*made) >= self.ttl) {
            self.pop();
            gone += 1;
        }
        gone
    }

    fn pop(&mut self) {
        let Some((scope, _)) = self.order.pop_front() else { return };
        if let Some(rows) = self.scopes.get_mut(&scope) {
            rows.pop();
            if rows.entries.is_empty() {
                self.scopes.remove(&scope);
            }
        }
    }

    pub(super) fn clear(&mut self) -> usize {
        self.scopes.clear();
        std::mem::take(&mut self.order).len()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Bytes of the vectors.
    pub(super) fn bytes(&self) -> u64 {
        self.scopes.values().map(|rows| rows.vectors.len() as u64 * 4).sum()
    }
}

/// A vector of length one; none where it has none, or is no vector.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = dot(vector, vector).sqrt();
    (length.is_finite() && length > 1e-6).then(|| vector.iter().map(|n| n / length).collect())
}

/// Eight sums side by side, so that the compiler can use the machine's vectors.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for n in 0..8 {
            sums[n] += a[n] * b[n];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_precision_loss, reason = "small numbers")]

    use super::*;

    const A: Scope = [1; 32];
    const B: Scope = [2; 32];

    fn about(word: &str, answer: &str) -> (Traits, Arc<str>) {
        (Traits { content: vec![word.to_owned()], ..Traits::default() }, answer.into())
    }

    fn said(meanings: &Meanings, scope: Scope, vector: &[f32], word: &str, now: Moment) -> Option<String> {
        meanings.nearest(&scope, vector, 0.9, &about(word, "").0, now).map(|(_, answer)| answer.to_string())
    }

    #[test]
    fn the_nearest_of_those_that_ask_the_same_answers() {
        let mut meanings = Meanings::new(10, 1_000);
        meanings.keep(A, &[1.0, 0.0, 0.0], about("x", "first"), 0);
        meanings.keep(A, &[2.0, 0.2, 0.0], about("x", "second"), 1);
        meanings.keep(A, &[1.0, 0.1, 0.01], about("y", "another question"), 2);
        meanings.keep(B, &[1.0, 0.1, 0.0], about("x", "another scope"), 3);
        assert_eq!(said(&meanings, A, &[1.0, 0.1, 0.0], "x", 4).as_deref(), Some("second"));
        assert_eq!(said(&meanings, A, &[3.0, -0.1, 0.0], "x", 4).as_deref(), Some("first"));
        assert_eq!(said(&meanings, A, &[0.0, 1.0, 0.0], "x", 4), None, "too far");
        assert_eq!(said(&meanings, A, &[1.0, 0.1], "x", 4), None, "a vector of another model");
    }

    #[test]
    fn answers_are_forgotten_in_time_and_for_room() {
        let mut meanings = Meanings::new(2, 1_000);
        assert_eq!(meanings.keep(A, &[1.0, 0.0], about("x", "1"), 0), (0, 0));
        assert_eq!(meanings.keep(B, &[1.0, 0.0], about("x", "2"), 500), (0, 0));
        assert_eq!(said(&meanings, A, &[1.0, 0.0], "x", 999).as_deref(), Some("1"));
        assert_eq!(said(&meanings, A, &[1.0, 0.0], "x", 1_000), None);
        assert_eq!(meanings.keep(B, &[0.0, 1.0], about("x", "3"), 1_000), (1, 0));
        assert_eq!(meanings.keep(B, &[0.6, 0.8], about("x", "4"), 1_001), (0, 1));
        assert_eq!(said(&meanings, B, &[1.0, 0.0], "x", 1_001), None);
        assert_eq!((meanings.len(), meanings.clear(), meanings.len(), meanings.bytes()), (2, 2, 0, 0));
    }

    #[test]
    fn what_is_no_vector_is_not_kept() {
        let mut meanings = Meanings::new(2, 1_000);
        for vector in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            meanings.keep(A, vector, about("x", "1"), 0);
        }
        assert_eq!(meanings.len(), 0);
        assert_eq!(said(&meanings, A, &[f32::NAN], "x", 0), None);
    }

    #[test]
    fn rows_stay_with_their_answers_however_many_come_and_go() {
        let mut meanings = Meanings::new(100, 1_000_000);
        for n in 0..1_000_i64 {
            let angle = n as f32 * 0.001;
            meanings.keep(A, &[angle.cos(), angle.sin(), 0.0], about("x", &n.to_string()), n);
        }
        for n in 900..1_000 {
            let angle = n as f32 * 0.001;
            let vector = [angle.cos(), angle.sin(), 0.0];
            assert_eq!(said(&meanings, A, &vector, "x", 1_000), Some(n.to_string()));
        }
        assert!(meanings.bytes() < 3 * 4 * 400, "{}", meanings.bytes());
    }

    /// `cargo test --release --lib how_long_all_questions_take -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    fn how_long_all_questions_take() {
        let mut dice = 7_u32;
        let mut number = || {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (dice >> 8) as f32 / 8_388_608.0 - 1.0
        };
        for count in [1_000, 10_000, 50_000] {
            let mut meanings = Meanings::new(count, 1_000);
            for _ in 0..count {
                let vector: Vec<f32> = (0..384).map(|_| number()).collect();
                meanings.keep(A, &vector, about("x", "1"), 0);
            }
            let asked: Vec<f32> = (0..384).map(|_| number()).collect();
            let mut best = f64::INFINITY;
            for _ in 0..20 {
                let begun = std::time::Instant::now();
                std::hint::black_box(meanings.nearest(&A, &asked, 0.85, &about("x", "").0, 1));
                best = best.min(begun.elapsed().as_secs_f64() * 1e3);
            }
            println!("{count} questions of 384 numbers: {best:.2} ms");
        }
    }
}
