//! How good a synthetic CT is: MAE, Dice, PSNR, SSIM, MS-SSIM.
