//! Means of whole numbers, the same on both engines, from sums that fit into 64 bits.

/// The mean of whole numbers, rounded half to even; 0 without any. The sums are those of the
/// quotients and the remainders by `divisor`, since a plain sum may exceed 64 bits.
pub fn mean(quotients: i64, remainders: i64, divisor: i64, count: i64) -> i128 {
    if count == 0 {
        return 0;
    }
    let sum = i128::from(quotients) * i128::from(divisor) + i128::from(remainders);
    let count = i128::from(count);
    let (floor, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
    match (rest * 2).cmp(&count) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
        std::cmp::Ordering::Greater => floor + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::mean;

    #[test]
    fn halves_go_to_the_even_number() {
        for (sum, count, wanted) in [
            (0, 0, 0),
            (1, 2, 0),
            (3, 2, 2),
            (5, 2, 2),
            (7, 2, 4),
            (10, 4, 2),
            (10, 3, 3),
            (11, 3, 4),
            (-1, 2, 0),
            (-3, 2, -2),
        ] {
            assert_eq!(mean(0, sum, 10, count), wanted, "{sum} / {count}");
            assert_eq!(mean(sum / 7, sum % 7, 7, count), wanted, "{sum} / {count}");
        }
    }

    #[test]
    fn sums_may_exceed_64_bits() {
        let (units, count) = (10_000_000, 1_000_000_000_000);
        let sum = mean(units * (count / 4), 999_999 * (count / 4), 1_000_000, count / 4);
        assert_eq!(sum, 10_000_000_999_999);
    }
}
