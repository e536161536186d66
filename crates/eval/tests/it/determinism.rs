//! The number of threads does not change a bit.

use synthct_eval::evaluate_sct;

use crate::pair::pair;

#[test]
fn one_and_five_threads_agree_bit_for_bit() -> Result<(), Box<dyn std::error::Error>> {
    let (ct, sct, mask) = pair([40, 36, 50], 9, false)?;
    let with_threads = |n: usize| -> Result<_, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        Ok(pool.install(|| evaluate_sct(&ct, &sct, &mask))?)
    };
    let (one, five) = (with_threads(1)?, with_threads(5)?);
    assert_eq!(serde_json::to_string(&one)?, serde_json::to_string(&five)?);
    Ok(())
}
