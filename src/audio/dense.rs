//! A dense layer on a few columns at once: the multiplications of the voice activity model.
//!
//! The weights are read once for all columns, in the order in which they lie in memory: for one or four columns
//! reading them is what costs. Vector width by what the CPU has, through `rten-simd` (safe, no build flags).

use rten_simd::ops::{BitOps as _, NumOps};
use rten_simd::{Isa, SimdOp};

/// Weights for `O` outputs and `K` inputs, packed in strips of outputs; and a bias.
#[derive(Debug)]
pub(crate) struct Dense<const T: usize> {
    inputs: usize,
    outputs: usize,
    strip: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Outputs worked on together: enough sums in flight to hide the latency of an addition.
fn strip(columns: usize) -> usize {
    match columns {
        1 => 64,
        2 => 32,
        _ => 16,
    }
}

impl<const T: usize> Dense<T> {
    /// Packs `weight(output, input)`; `outputs` is a multiple of 64.
    pub fn new(outputs: usize, inputs: usize, bias: Vec<f32>, weight: impl Fn(usize, usize) -> f32) -> Self {
        let strip = strip(T);
        let mut weights = Vec::with_capacity(outputs * inputs);
        for first in (0..outputs).step_by(strip) {
            for input in 0..inputs {
                weights.extend((first..first + strip).map(|output| weight(output, input)));
            }
        }
        Self { inputs, outputs, strip, weights, bias }
    }

    /// `y[t][output] = bias + sum of weight * x[input][t]`, for each of the `T` columns; `y` is `T` rows of outputs.
    pub fn apply(&self, x: &[[f32; T]], y: &mut [f32]) {
        debug_assert_eq!((x.len(), y.len()), (self.inputs, self.outputs * T));
        Apply { dense: self, x, y }.dispatch();
    }
}

struct Apply<'a, const T: usize> {
    dense: &'a Dense<T>,
    x: &'a [[f32; T]],
    y: &'a mut [f32],
}

impl<const T: usize> SimdOp for Apply<'_, T> {
    type Output = ();

    #[allow(clippy::inline_always, reason = "the vector code must be inside the dispatched function")]
    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        match self.dense.strip / ops.len() {
            1 => self.strips::<_, 1>(ops),
            2 => self.strips::<_, 2>(ops),
            4 => self.strips::<_, 4>(ops),
            8 => self.strips::<_, 8>(ops),
            16 => self.strips::<_, 16>(ops),
            _ => self.plain(),
        }
    }
}

impl<const T: usize> Apply<'_, T> {
    /// A strip is `V` vectors wide.
    #[allow(clippy::inline_always, reason = "the vector code must be inside the dispatched function")]
    #[inline(always)]
    fn strips<O: NumOps<f32>, const V: usize>(self, ops: O) {
        let Dense { inputs, outputs, strip, weights, bias } = self.dense;
        for (n, weights) in weights.chunks_exact(inputs * strip).enumerate() {
            let first = n * strip;
            let start: [O::Simd; V] = ops.load_many(&bias[first..first + strip]);
            let mut sums = [start; T];
            for (row, x) in weights.chunks_exact(*strip).zip(self.x) {
                let row: [O::Simd; V] = ops.load_many(row);
                for t in 0..T {
                    let x = ops.splat(x[t]);
                    for v in 0..V {
                        sums[t][v] = ops.mul_add(row[v], x, sums[t][v]);
                    }
                }
            }
            for (t, sums) in sums.iter().enumerate() {
                let y = &mut self.y[t * outputs + first..][..*strip];
                for (sum, y) in sums.iter().zip(y.chunks_exact_mut(ops.len())) {
                    ops.store(*sum, y);
                }
            }
        }
    }

    /// For a vector width that nobody has yet.
    fn plain(self) {
        let Dense { inputs, outputs, strip, weights, bias } = self.dense;
        for output in 0..*outputs {
            let weights = &weights[output / strip * strip * inputs..][output % strip..];
            for t in 0..T {
                let sum: f32 = self.x.iter().zip(weights.iter().step_by(*strip)).map(|(x, w)| x[t] * w).sum();
                self.y[t * outputs + output] = bias[output] + sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "small test numbers")]

    use super::*;
    use crate::audio::testing::Dice;

    fn check<const T: usize>(outputs: usize, inputs: usize) {
        let mut dice = Dice(9);
        let weights: Vec<f32> = (0..outputs * inputs).map(|_| dice.unit() as f32).collect();
        let bias: Vec<f32> = (0..outputs).map(|_| dice.unit() as f32).collect();
        let x: Vec<[f32; T]> = (0..inputs).map(|_| [(); T].map(|()| dice.unit() as f32)).collect();
        let dense = Dense::<T>::new(outputs, inputs, bias.clone(), |o, i| weights[o * inputs + i]);
        let mut fast = vec![0.0; outputs * T];
        dense.apply(&x, &mut fast);
        let mut plain = vec![0.0; outputs * T];
        Apply { dense: &dense, x: &x, y: &mut plain }.plain();
        for t in 0..T {
            for o in 0..outputs {
                let want: f32 = bias[o] + (0..inputs).map(|i| weights[o * inputs + i] * x[i][t]).sum::<f32>();
                assert!((fast[t * outputs + o] - want).abs() < 1e-3 && (plain[t * outputs + o] - want).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn a_layer_is_the_sum_of_its_products_for_any_number_of_columns() {
        check::<1>(512, 256);
        check::<2>(64, 384);
        check::<4>(128, 387);
    }
}
