//! A transform as ITK stores it: a name, parameters and fixed parameters.
//!
//! # References
//! The classes of ITK 5.4 whose names appear here, which define the order of the numbers.

use std::path::Path;

use synthct_image::{
    AffineTransform, BSplineTransform, DisplacementField, Grid, ImageError, Matrix3, PointLps, Transform,
    Volume,
};

use crate::IoError;

/// How far a versor may be longer than 1 and still be taken for a rounded unit vector.
const VERSOR_TOLERANCE: f64 = 1e-5;
/// The fixed parameters of a lattice or field: size, origin, spacing, and direction row by row.
const N_GRID_PARAMETERS: usize = 18;

/// One transform of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// For example `AffineTransform_double_3_3`.
    pub(super) kind: String,
    pub(super) parameters: Vec<f64>,
    pub(super) fixed: Vec<f64>,
}

/// The kinds that are read, under ITK's names.
#[derive(Clone, Copy)]
enum Kind {
    Identity,
    Translation,
    Affine,
    Euler,
    VersorRigid,
    Versor,
    QuaternionRigid,
    Similarity,
    Scale,
    BSpline,
    Displacement,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "IdentityTransform" => Self::Identity,
            "TranslationTransform" => Self::Translation,
            "AffineTransform" | "MatrixOffsetTransformBase" => Self::Affine,
            "Euler3DTransform" => Self::Euler,
            "VersorRigid3DTransform" => Self::VersorRigid,
            "VersorTransform" => Self::Versor,
            "QuaternionRigidTransform" => Self::QuaternionRigid,
            "Similarity3DTransform" => Self::Similarity,
            "ScaleTransform" => Self::Scale,
            "BSplineTransform" => Self::BSpline,
            "DisplacementFieldTransform" => Self::Displacement,
            _ => return None,
        })
    }
}

impl Record {
    /// The name that stands for a composite, whose parts follow.
    pub(super) const COMPOSITE: &str = "CompositeTransform_double_3_3";

    /// Whether the parts of a composite follow.
    pub(super) fn is_composite(&self) -> bool {
        self.kind.starts_with("CompositeTransform_")
    }

    /// The transform.
    pub(super) fn to_transform(&self, path: &Path) -> Result<Transform, IoError> {
        let parts: Vec<&str> = self.kind.split('_').collect();
        let [name, scalar @ ("double" | "float"), n_in, n_out] = parts[..] else {
            let what = format!("`{}` is no name of a transform", self.kind.escape_debug());
            return Err(malformed(path, what));
        };
        if [n_in, n_out] != ["3", "3"] {
            let what =
                format!("a transform of {n_in} to {n_out} dimensions (`{}`) instead of 3 to 3", self.kind);
            return Err(IoError::unsupported(path, what));
        }
        let Some(kind) = Kind::named(name) else {
            return Err(IoError::unsupported(path, format!("the transform `{name}_{scalar}_3_3`")));
        };
        if let Some(number) = self.parameters.iter().chain(&self.fixed).find(|number| !number.is_finite()) {
            return Err(malformed(path, format!("`{}` has the parameter {number}", self.kind)));
        }
        match kind {
            Kind::BSpline => return self.b_spline(path),
            Kind::Displacement => return self.displacement(path),
            _ => {}
        }
        let affine = self.affine(path, kind)?;
        affine.inverse().map_err(IoError::transform(path))?;
        Ok(affine.into())
    }

    fn affine(&self, path: &Path, kind: Kind) -> Result<AffineTransform, IoError> {
        let (matrix, translation, center) = match kind {
            Kind::Identity => return Ok(AffineTransform::IDENTITY),
            Kind::Translation => (Matrix3::IDENTITY, self.parameters(path)?, [0.0; 3]),
            Kind::Affine => {
                let [a, b, c, d, e, f, g, h, i, x, y, z] = self.parameters(path)?;
                (Matrix3([[a, b, c], [d, e, f], [g, h, i]]), [x, y, z], self.center(path)?)
            }
            Kind::Euler => {
                let [a, b, c, x, y, z] = self.parameters(path)?;
                // Since version 5 ITK writes a fourth fixed parameter: whether the order is Rz·Ry·Rx.
                let is_zyx = self.fixed.get(3).is_some_and(|&flag| flag != 0.0);
                (euler_rotation([a, b, c], is_zyx), [x, y, z], self.euler_center(path)?)
            }
            Kind::VersorRigid => {
                let [a, b, c, x, y, z] = self.parameters(path)?;
                (self.versor_rotation(path, [a, b, c])?, [x, y, z], self.center(path)?)
            }
            Kind::Versor => {
                (self.versor_rotation(path, self.parameters(path)?)?, [0.0; 3], self.center(path)?)
            }
            Kind::QuaternionRigid => {
                let [a, b, c, w, x, y, z] = self.parameters(path)?;
                let norm = (a * a + b * b + c * c + w * w).sqrt();
                if norm == 0.0 {
                    return Err(malformed(path, format!("the quaternion of `{}` is zero", self.kind)));
                }
                let [a, b, c, w] = [a, b, c, w].map(|part| part / norm);
                (quaternion_rotation([a, b, c], w), [x, y, z], self.center(path)?)
            }
            Kind::Similarity => {
                let [a, b, c, x, y, z, scale] = self.parameters(path)?;
                let rotation = self.versor_rotation(path, [a, b, c])?;
                (rotation * Matrix3::diagonal([scale; 3]), [x, y, z], self.center(path)?)
            }
            Kind::Scale => (Matrix3::diagonal(self.parameters(path)?), [0.0; 3], self.center(path)?),
            Kind::BSpline | Kind::Displacement => {
                unreachable!("because those are no affine maps")
            }
        };
        // ITK: y = A (x − c) + c + t.
        let about_center =
            AffineTransform::linear_about(center.into(), matrix).map_err(IoError::transform(path))?;
        let shift = about_center.translation_mm() + translation.into();
        AffineTransform::new(matrix, shift).map_err(IoError::transform(path))
    }

    fn parameters<const N: usize>(&self, path: &Path) -> Result<[f64; N], IoError> {
        self.parameters[..].try_into().map_err(|_| self.wrong_count(path, "parameters", N))
    }

    fn center(&self, path: &Path) -> Result<[f64; 3], IoError> {
        self.fixed[..].try_into().map_err(|_| self.wrong_count(path, "fixed parameters", 3))
    }

    fn euler_center(&self, path: &Path) -> Result<[f64; 3], IoError> {
        match self.fixed[..] {
            [x, y, z] | [x, y, z, _] => Ok([x, y, z]),
            _ => Err(self.wrong_count(path, "fixed parameters", 3)),
        }
    }

    fn wrong_count(&self, path: &Path, what: &str, expected: usize) -> IoError {
        let found = if what == "parameters" { self.parameters.len() } else { self.fixed.len() };
        malformed(path, format!("`{}` has {found} {what} instead of {expected}", self.kind))
    }

    fn versor_rotation(&self, path: &Path, versor: [f64; 3]) -> Result<Matrix3, IoError> {
        let squared: f64 = versor.iter().map(|part| part * part).sum();
        if squared > 1.0 + VERSOR_TOLERANCE {
            let what = format!("the versor {versor:?} of `{}` is longer than 1", self.kind);
            return Err(malformed(path, what));
        }
        let norm = squared.sqrt().max(1.0);
        Ok(quaternion_rotation(versor.map(|part| part / norm), (1.0 - squared).max(0.0).sqrt()))
    }

    /// The grid of the fixed parameters, if there are `3 · n_voxels` parameters.
    fn grid(&self, path: &Path) -> Result<Grid, IoError> {
        if self.fixed.len() != N_GRID_PARAMETERS {
            return Err(self.wrong_count(path, "fixed parameters", N_GRID_PARAMETERS));
        }
        let triple = |n: usize| -> [f64; 3] { std::array::from_fn(|axis| self.fixed[3 * n + axis]) };
        let size = triple(0);
        let is_size = |n: f64| n >= 1.0 && n.fract() == 0.0 && n <= Grid::MAX_VOXELS as f64;
        if !size.iter().all(|&n| is_size(n)) {
            return Err(malformed(path, format!("`{}` has the grid size {size:?}", self.kind)));
        }
        let direction = Matrix3([triple(3), triple(4), triple(5)]);
        let grid = Grid::new(size.map(|n| n as usize), triple(2), triple(1).into(), direction)
            .map_err(IoError::geometry(path))?;
        if self.parameters.len() != 3 * grid.n_voxels() {
            return Err(self.wrong_count(path, "parameters", 3 * grid.n_voxels()));
        }
        Ok(grid)
    }

    fn b_spline(&self, path: &Path) -> Result<Transform, IoError> {
        let lattice = self.grid(path)?;
        let n = lattice.n_voxels();
        let vectors = (0..n).map(|at| [0, 1, 2].map(|c| self.parameters[c * n + at])).collect();
        let spline = Volume::from_vec(lattice, vectors).and_then(BSplineTransform::new);
        spline.map(Transform::from).map_err(IoError::transform(path))
    }

    fn displacement(&self, path: &Path) -> Result<Transform, IoError> {
        let grid = self.grid(path)?;
        let vectors = self.parameters.as_chunks::<3>().0.iter().map(|v| v.map(|c| c as f32)).collect();
        let field = Volume::from_vec(grid, vectors).and_then(DisplacementField::new);
        field.map(Transform::from).map_err(IoError::transform(path))
    }
}

/// The records of a transform, a composite first and then its parts.
pub(super) fn records_of(transform: &Transform) -> Result<Vec<Record>, ImageError> {
    let mut parts = Vec::new();
    collect(transform, &mut parts)?;
    if matches!(transform, Transform::Composite(_)) {
        if parts.is_empty() {
            parts.push(Record { kind: "IdentityTransform_double_3_3".to_owned(), ..Record::default() });
        }
        parts.insert(0, Record { kind: Record::COMPOSITE.to_owned(), ..Record::default() });
    }
    Ok(parts)
}

fn collect(transform: &Transform, parts: &mut Vec<Record>) -> Result<(), ImageError> {
    let (name, parameters, fixed) = match transform {
        Transform::Composite(factors) => {
            return factors.iter().try_for_each(|factor| collect(factor, parts));
        }
        Transform::Affine(affine) => {
            affine.inverse()?;
            let mut parameters = affine.matrix().0.concat();
            parameters.extend(affine.translation_mm().to_array());
            ("AffineTransform", parameters, PointLps::ORIGIN.to_array().to_vec())
        }
        Transform::Displacement(field) => {
            let vectors = field.displacement_mm();
            let parameters = vectors.as_slice().iter().flatten().map(|&c| f64::from(c)).collect();
            ("DisplacementFieldTransform", parameters, grid_parameters(vectors.grid()))
        }
        Transform::BSpline(spline) => {
            let vectors = spline.control_points().as_slice();
            let parameters = (0..3).flat_map(|c| vectors.iter().map(move |vector| vector[c])).collect();
            ("BSplineTransform", parameters, grid_parameters(spline.grid()))
        }
    };
    parts.push(Record { kind: format!("{name}_double_3_3"), parameters, fixed });
    Ok(())
}

fn grid_parameters(grid: &Grid) -> Vec<f64> {
    let size = grid.size_ijk().map(|n| n as f64);
    [size, grid.origin_lps().to_array(), grid.spacing_mm()]
        .into_iter()
        .chain(grid.direction().0)
        .flatten()
        .collect()
}

fn malformed(path: &Path, what: String) -> IoError {
    IoError::malformed(path, "transform", what)
}

/// Rz·Rx·Ry of the angles about x, y and z in radians, or Rz·Ry·Rx.
fn euler_rotation(angles: [f64; 3], is_zyx: bool) -> Matrix3 {
    let [(sx, cx), (sy, cy), (sz, cz)] = angles.map(f64::sin_cos);
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]]);
    let about_y = Matrix3([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]]);
    let about_z = Matrix3([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]]);
    if is_zyx { about_z * about_y * about_x } else { about_z * about_x * about_y }
}

/// The rotation of the unit quaternion w + x i + y j + z k.
fn quaternion_rotation([x, y, z]: [f64; 3], w: f64) -> Matrix3 {
    Matrix3([
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ])
}
