//! What fills the braincase and the vertebral canal.

use super::Head;
use super::cranium::{Cranial, POSTERIOR_FOSSA, TEMPORAL_FOSSA};
use crate::Tissue;
use crate::shape::{Position, ellipse, ellipsoid, mirrored, round_cone, smooth_min};

/// Thickness of the cortical ribbon, canonical.
const CORTEX: f64 = 3.3;
/// Distance per unit of the folding noise: its mean slope at zero is about 1.3 per feature length.
const FOLD_SLOPE: f64 = Head::FOLD_LENGTH / 1.3;

impl Head {
    /// The tissue inside the skull or the vertebral canal.
    pub(crate) fn brain(&self, p: Position, cranial: &Cranial) -> Tissue {
        let m = mirrored(p);
        let [x, y, z] = [m[0], p[1], p[2]];
        let parameters = &self.parameters;
        let depth = -cranial.inner.min(cranial.canal) - parameters.csf_thickness;

        let stem = smooth_min(
            round_cone(p, [0.0, 14.0, -8.0], [0.0, 19.0, -30.0], 12.0, 15.5),
            round_cone(p, [0.0, 24.0, -38.0], [0.0, 41.0, -72.0], 11.0, 8.0),
            8.0,
        );
        let cord = round_cone(p, [0.0, 41.0, -72.0], [0.0, 44.0, -210.0], 7.5, 6.0);
        if self.ventricle(p, m) < 0.0 {
            return Tissue::Csf;
        }
        if smooth_min(stem, cord, 4.0) < 0.0 {
            return Tissue::WhiteMatter;
        }
        if z < -66.0 || depth < 0.0 {
            return Tissue::Csf;
        }

        // The tentorium: cerebrum above, cerebellum below.
        let behind = y - 46.0;
        let tent = -3.0 - 0.40 * x.hypot(if behind > 0.0 { behind } else { 1.3 * behind })
            + 4.0 * self.thickness_noise.at(p);
        let over_tent = 0.9 * (z - tent);
        let to_fossa = ellipsoid(p, POSTERIOR_FOSSA.0, POSTERIOR_FOSSA.1);
        if over_tent < 1.0 && to_fossa < 3.0 {
            return self.cerebellum(p, depth.min(-1.0 - over_tent).min(1.0 - to_fossa), stem);
        }
        // Below the floor of the braincase in front of it there is only the temporal lobe beside the cisterns.
        let to_temporal = ellipsoid(m, TEMPORAL_FOSSA.0, TEMPORAL_FOSSA.1);
        if z < -21.0 && to_temporal > -parameters.csf_thickness && y > -14.0 && (y < 14.0 || x < 20.0) {
            return Tissue::Csf;
        }
        if ellipsoid(p, [0.0, -1.0, -21.0], [13.0, 15.0, 7.0]) < 0.0 {
            return Tissue::Csf;
        }
        self.cerebrum(p, m, depth)
    }

    fn cerebrum(&self, p: Position, m: Position, depth: f64) -> Tissue {
        let [x, y, z] = [m[0], p[1], p[2]];
        let parameters = &self.parameters;
        // Sulci: the sheets where a noise vanishes, down to a depth; each side of the falx is its own.
        let side = if p[0] < 0.0 { 500.0 } else { 0.0 };
        let fold = (FOLD_SLOPE * self.folds.at([p[0] + side, y, z])).abs();
        let sulcus_depth = 20.0;
        let to_sheet = fold.hypot((depth - sulcus_depth).max(0.0));
        let mut to_csf = depth.min(to_sheet - parameters.sulcus_width * (1.0 - 0.03 * depth).max(0.2));
        // The fissure between the hemispheres ends above the corpus callosum.
        let callosum = ellipse(y - 6.0, z - 2.0, 45.0, 28.0);
        let fissure = x.hypot((-callosum).max(0.0)) - 1.1 - 0.4 * parameters.sulcus_width;
        to_csf = to_csf.min(fissure);
        // The lateral fissure, with the insula at its bottom.
        let wave = 9.0 * self.thickness_noise.at([p[0] * 0.8, y, z + 300.0]);
        let lateral = ((z + 12.0 - 0.48 * (y + 15.0) + 0.30 * (x - 45.0) + wave) * 0.85)
            .hypot((35.0 - x).max(0.0))
            .hypot((-22.0 - y).max(0.0))
            .hypot((y - 30.0).max(0.0))
            - 1.4 * parameters.sulcus_width;
        to_csf = to_csf.min(lateral);
        if to_csf < 0.0 {
            return Tissue::Csf;
        }
        if to_csf < CORTEX {
            return Tissue::GreyMatter;
        }
        let deep = ellipsoid(m, [25.0, -3.0, 1.0], [6.5, 18.0, 10.5])
            .min(ellipsoid(m, [11.0, 17.0, 6.0], [9.5, 14.0, 8.5]))
            .min(ellipsoid(m, [13.0, -16.0, 9.0], [5.5, 9.5, 10.0]))
            .min(ellipsoid(m, [25.0, 12.0, -20.0], [7.0, 14.0, 6.0]));
        if deep < 0.0 { Tissue::GreyMatter } else { Tissue::WhiteMatter }
    }

    fn cerebellum(&self, p: Position, depth: f64, stem: f64) -> Tissue {
        let m = mirrored(p);
        if depth < 0.0 || p[1] < 26.0 && stem > 4.0 {
            return Tissue::Csf;
        }
        // Folia are stacked sheets that follow the surface.
        let fold = (self.folia.at(p) * 4.5).abs();
        if depth < 9.0 && fold < 0.35 {
            return Tissue::Csf;
        }
        let core = ellipsoid(m, [21.0, 52.0, -42.0], [17.0, 17.0, 8.5]) + 5.0 * self.folia.at(p);
        let peduncle = round_cone(m, [20.0, 46.0, -42.0], [10.0, 24.0, -36.0], 7.0, 8.0);
        if core.min(peduncle) < 0.0 { Tissue::WhiteMatter } else { Tissue::Cerebellum }
    }

    /// Distance to the wall of the ventricles, negative within.
    fn ventricle(&self, p: Position, m: Position) -> f64 {
        let size = self.parameters.ventricle_size;
        if p[2] > 45.0 || p[2] < -50.0 || m[0] > 48.0 {
            return 10.0;
        }
        let lateral = round_cone(m, [8.0, -30.0, 6.0], [11.0, 2.0, 20.0], 4.5 * size, 5.5 * size);
        let body = round_cone(m, [11.0, 2.0, 20.0], [25.0, 42.0, 12.0], 5.5 * size, 7.0 * size);
        let horn = round_cone(m, [26.0, 40.0, 8.0], [33.0, 8.0, -18.0], 4.0 * size, 2.5 * size);
        let occipital = round_cone(m, [25.0, 42.0, 12.0], [23.0, 66.0, 6.0], 6.0 * size, 2.0 * size);
        // The septum keeps left and right apart.
        let paired = lateral.min(body).min(horn).min(occipital).max(0.9 - m[0]);
        let third = ellipse(p[1] - 6.0, p[2] + 1.0, 15.0, 10.0).max(m[0] - 2.0 * size);
        let fourth = ellipsoid(p, [0.0, 40.0, -36.0], [6.5 * size, 5.0 * size, 10.0]);
        paired.min(third).min(fourth)
    }
}
