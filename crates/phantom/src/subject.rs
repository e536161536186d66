//! One patient: the truth at any point of space.

use synthct_image::{AffineTransform, Matrix3, PointLps, VectorLps};

use crate::config::{PhantomConfig, Site};
use crate::draws::Draws;
use crate::head::{GLOBE_CENTER, Head};
use crate::pelvis::{FEMORAL_HEAD, Pelvis};
use crate::shape::Position;
use crate::{PhantomError, Tissue};

/// What is at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The tissue.
    pub tissue: Tissue,
    /// Its HU, free of noise and blur.
    pub hu: f64,
    /// How much its MR signal is above the tissue's mean, as a fraction: tissue is never quite uniform.
    pub texture: f64,
}

impl Sample {
    /// Air outside the body.
    pub(crate) const AIR: Self = Self { tissue: Tissue::OutsideAir, hu: -1000.0, texture: 0.0 };

    /// Tissue without mineral, or air; `texture` is a smooth noise, mostly within ±1.
    pub(crate) fn soft(tissue: Tissue, texture: f64) -> Self {
        if tissue.is_air() {
            return Self { tissue, ..Self::AIR };
        }
        Self { tissue, hu: tissue.typical_hu() + 4.0 * texture, texture: 0.035 * texture }
    }
}

/// A point of the anatomy with a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Landmark {
    /// The name.
    pub name: &'static str,
    /// Where it is in the MR's patient space.
    pub point: PointLps,
}

/// One patient, a function of position in the MR's patient space.
///
/// ```
/// use synthct_phantom::{PhantomConfig, Subject, Tissue};
/// use synthct_image::{PointLps, VectorLps};
/// let subject = Subject::new(&PhantomConfig::head(), 7)?;
/// let left_eye = subject.landmark("left eye").expect("because heads have eyes");
/// assert_eq!(subject.sample(left_eye).tissue, Tissue::Vitreous);
/// let far_away = left_eye + VectorLps::new(0.0, -500.0, 0.0);
/// assert_eq!(subject.sample(far_away).tissue, Tissue::OutsideAir);
/// # Ok::<(), synthct_phantom::PhantomError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subject {
    anatomy: Anatomy,
    pose: Pose,
}

#[derive(Clone, Debug)]
enum Anatomy {
    Head(Box<Head>),
    Pelvis(Box<Pelvis>),
}

impl Subject {
    /// The patient that a seed stands for; configurations of one site and pathology share their anatomy.
    ///
    /// # Errors
    /// [`PhantomError::Config`] if the configuration is out of range.
    pub fn new(config: &PhantomConfig, subject_seed: u64) -> Result<Self, PhantomError> {
        config.check()?;
        let draws = Draws::new(subject_seed);
        let jitter = config.position_jitter;
        Ok(match config.site {
            Site::Head => {
                let head = Head::new(&draws, config.pathology);
                let pose =
                    Pose::draw(&draws, head.parameters.scale, [0.0, 5.0, -18.0], [6.0, 4.0, 5.0], jitter)?;
                Self { anatomy: Anatomy::Head(Box::new(head)), pose }
            }
            Site::Pelvis => {
                let pelvis = Pelvis::new(&draws);
                let pose =
                    Pose::draw(&draws, pelvis.parameters.scale, [0.0, 8.0, 10.0], [3.0, 3.0, 3.0], jitter)?;
                Self { anatomy: Anatomy::Pelvis(Box::new(pelvis)), pose }
            }
        })
    }

    /// What is at a point of the MR's patient space.
    pub fn sample(&self, point: PointLps) -> Sample {
        let p = self.pose.canonical_from_world(point);
        match &self.anatomy {
            Anatomy::Head(head) => head.sample(p),
            Anatomy::Pelvis(pelvis) => pelvis.sample(p),
        }
    }

    /// Distance to the skin in mm, negative inside the body; an estimate that is good near the skin.
    pub fn skin_distance_mm(&self, point: PointLps) -> f64 {
        let p = self.pose.canonical_from_world(point);
        self.pose.scale
            * match &self.anatomy {
                Anatomy::Head(head) => head.skin_distance(p),
                Anatomy::Pelvis(pelvis) => pelvis.skin_distance(p),
            }
    }

    /// Whether a point is inside the skin; cavities of the body are.
    pub fn is_inside_body(&self, point: PointLps) -> bool {
        self.skin_distance_mm(point) <= 0.0
    }

    /// Named points: of a head the middles of the eyes, of a pelvis those of the femoral heads.
    pub fn landmarks(&self) -> Vec<Landmark> {
        let (names, left) = match &self.anatomy {
            Anatomy::Head(_) => (["left eye", "right eye"], GLOBE_CENTER),
            Anatomy::Pelvis(_) => (["left femoral head", "right femoral head"], FEMORAL_HEAD),
        };
        let right = [-left[0], left[1], left[2]];
        std::iter::zip(names, [left, right])
            .map(|(name, p)| Landmark { name, point: self.pose.world_from_canonical(p) })
            .collect()
    }

    /// The landmark of a name.
    pub fn landmark(&self, name: &str) -> Option<PointLps> {
        self.landmarks().into_iter().find(|landmark| landmark.name == name).map(|landmark| landmark.point)
    }
}

/// Where a patient lies, how large and how crooked.
#[derive(Clone, Debug)]
struct Pose {
    scale: f64,
    /// The canonical position that lies near the middle of the scanner.
    center: Position,
    upright_from_world: AffineTransform,
    world_from_upright: AffineTransform,
    /// Second-order warp: for each axis, factors of xx, yy, zz, xy, yz, zx in units of 100.
    warp: [[f64; 6]; 3],
    /// How far the left side of the body lies behind the right one, per unit to the left.
    torque: f64,
}

impl Pose {
    fn draw(
        draws: &Draws,
        scale: f64,
        center: Position,
        tilt_deg: [f64; 3],
        jitter: f64,
    ) -> Result<Self, PhantomError> {
        let within = |name: &str, bound: f64| draws.uniform(name, -bound * jitter, bound * jitter);
        let angles_deg = [
            within("tilt about x", tilt_deg[0]),
            within("tilt about y", tilt_deg[1]),
            within("tilt about z", tilt_deg[2]),
        ];
        let shift = VectorLps::new(within("shift x", 5.0), within("shift y", 6.0), within("shift z", 6.0));
        let world_from_upright = rigid(angles_deg, shift)?;
        let names = ["xx", "yy", "zz", "xy", "yz", "zx"];
        let warp = ["x", "y", "z"]
            .map(|axis| names.map(|name| draws.normal(&format!("warp of {axis} by {name}"), 0.0, 1.1)));
        Ok(Self {
            scale,
            center,
            upright_from_world: world_from_upright.inverse()?,
            world_from_upright,
            warp,
            // The human brain is turned: the left occipital pole lies behind the right one (Yakovlevian torque).
            torque: draws.uniform("torque", 0.015, 0.045),
        })
    }

    fn canonical_from_world(&self, point: PointLps) -> Position {
        let [x, y, z] = self.upright_from_world.apply(point).to_array();
        let u = [
            x / self.scale + self.center[0],
            y / self.scale + self.center[1],
            z / self.scale + self.center[2],
        ];
        let shift = self.shift(u);
        [u[0] - shift[0], u[1] - shift[1], u[2] - shift[2]]
    }

    fn world_from_canonical(&self, p: Position) -> PointLps {
        // u = p + shift(u): the shift changes slowly, so that this converges by a factor of ten a round.
        let mut u = p;
        for _ in 0..40 {
            let shift = self.shift(u);
            u = [p[0] + shift[0], p[1] + shift[1], p[2] + shift[2]];
        }
        let upright = [0, 1, 2].map(|axis| (u[axis] - self.center[axis]) * self.scale);
        self.world_from_upright.apply(upright.into())
    }

    fn shift(&self, u: Position) -> Position {
        let [x, y, z] = u.map(|c| (c / 100.0).clamp(-1.6, 1.6));
        let terms = [x * x, y * y, z * z, x * y, y * z, z * x];
        let mut shift =
            self.warp.map(|factors| std::iter::zip(factors, terms).map(|(f, t)| f * t).sum::<f64>());
        shift[1] += self.torque * 100.0 * x;
        shift
    }
}

/// The rigid map x ↦ Rz·Ry·Rx·x + t.
pub(crate) fn rigid(
    rotation_deg: [f64; 3],
    translation_mm: VectorLps,
) -> Result<AffineTransform, PhantomError> {
    let [(sx, cx), (sy, cy), (sz, cz)] = rotation_deg.map(|angle| angle.to_radians().sin_cos());
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]]);
    let about_y = Matrix3([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]]);
    let about_z = Matrix3([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]]);
    Ok(AffineTransform::new(about_z * about_y * about_x, translation_mm)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_and_canonical_positions_are_inverse() -> Result<(), PhantomError> {
        for seed in 0..5 {
            let subject = Subject::new(&PhantomConfig::head(), seed)?;
            for p in [[0.0, 0.0, 0.0], [60.0, -80.0, -100.0], [-70.0, 90.0, 60.0], [33.0, -61.0, -38.0]] {
                let back = subject.pose.canonical_from_world(subject.pose.world_from_canonical(p));
                for axis in 0..3 {
                    assert!((back[axis] - p[axis]).abs() < 1e-9, "{back:?} instead of {p:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn rotations_are_right_handed() -> Result<(), PhantomError> {
        let about_z = rigid([0.0, 0.0, 90.0], VectorLps::new(0.0, 0.0, 5.0))?;
        assert!(
            about_z.apply(PointLps::new(1.0, 0.0, 0.0)).distance_mm(PointLps::new(0.0, 1.0, 5.0)) < 1e-12
        );
        // Rx acts first: z → −y → x.
        let both = rigid([90.0, 0.0, 90.0], VectorLps::new(0.0, 0.0, 0.0))?;
        assert!(both.apply(PointLps::new(0.0, 0.0, 1.0)).distance_mm(PointLps::new(1.0, 0.0, 0.0)) < 1e-12);
        Ok(())
    }
}
