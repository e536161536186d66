//! What a treatment plan needs of a phantom: a target, and organs whose doses count.

use synthct_image::morphology::dilate;
use synthct_image::{LabelMap, Mask, PointLps, VectorLps, Volume};

use crate::{PhantomError, Site, Tissue};

/// Where a head's target lies: this far from the middle of the brain, to the left, front and top, mm.
const HEAD_TARGET_FROM_BRAIN_MM: [f64; 3] = [30.0, -15.0, 15.0];
/// The radius of a head's target, mm.
const HEAD_TARGET_RADIUS_MM: f64 = 20.0;
/// The margin around prostate and seminal vesicles, mm.
const PELVIS_MARGIN_MM: f64 = 7.0;
/// The margin around the prostate that is to get more, mm.
const PELVIS_BOOST_MARGIN_MM: f64 = 5.0;

/// A target and organs, on the grid of the labels they come from.
#[derive(Clone, Debug)]
pub struct Structures {
    /// The planning target volume.
    pub target: Mask,
    /// The part of the target that is to get more, if the site has one.
    pub boost: Option<Mask>,
    /// Organs by name; one without a voxel is left out.
    pub organs: Vec<(&'static str, Mask)>,
    /// What the target is, in words.
    pub target_is: String,
}

/// The target and the organs of a phantom, from its true tissues.
///
/// Heads have no tumor: their target is a sphere of 20 mm in the brain, near the left frontal lobe; which point is ours.
/// The target of a pelvis is prostate and seminal vesicles and 7 mm; its boost is the prostate and 5 mm.
///
/// # Errors
/// [`PhantomError::NoTarget`] if the tissues have none, as those of another site; [`PhantomError::Grid`] from margins.
pub fn structures(site: Site, tissues: &LabelMap) -> Result<Structures, PhantomError> {
    let of = |wanted: &[Tissue]| {
        let labels: Vec<u16> = wanted.iter().map(|tissue| tissue.label()).collect();
        Mask::from_values(tissues.volume(), |label| labels.contains(label))
    };
    let middle =
        |mask: &Mask, what: &'static str| mask.centroid_lps().ok_or(PhantomError::NoTarget { missing: what });
    let mut found = match site {
        Site::Head => {
            let brain = of(&[Tissue::GreyMatter, Tissue::WhiteMatter, Tissue::Cerebellum]);
            let center = middle(&brain, "brain")? + VectorLps::from(HEAD_TARGET_FROM_BRAIN_MM);
            let target = sphere(tissues, center, HEAD_TARGET_RADIUS_MM);
            let brain = brain.and(&target.complement())?;
            Structures {
                boost: None,
                organs: vec![
                    ("brain", brain),
                    ("eyes", of(&[Tissue::Vitreous, Tissue::Lens])),
                    ("optic nerves", of(&[Tissue::Nerve])),
                    ("cerebellum", of(&[Tissue::Cerebellum])),
                ],
                target,
                target_is: format!(
                    "a sphere of {HEAD_TARGET_RADIUS_MM} mm, {HEAD_TARGET_FROM_BRAIN_MM:?} mm (LPS) from the middle of the \
                     brain"
                ),
            }
        }
        Site::Pelvis => {
            let prostate = of(&[Tissue::Prostate]);
            let prostate_middle = middle(&prostate, "prostate")?;
            let target = dilate(&prostate.or(&of(&[Tissue::Gland]))?, PELVIS_MARGIN_MM)?;
            let hollow = of(&[Tissue::BowelContent, Tissue::InnerAir]);
            // The rectum is what is hollow behind the prostate; bowel begins above.
            let behind = Mask::new(Volume::from_point_fn(tissues.grid(), |point| {
                point.y > prostate_middle.y && point.z < prostate_middle.z + 60.0
            }));
            Structures {
                boost: Some(dilate(&prostate, PELVIS_BOOST_MARGIN_MM)?),
                organs: vec![
                    ("rectum", hollow.and(&behind)?),
                    ("bladder", of(&[Tissue::Urine])),
                    ("bones", of(&[Tissue::CorticalBone, Tissue::CancellousBone])),
                    ("bowel", hollow.and(&behind.complement())?),
                ],
                target,
                target_is: format!(
                    "prostate and seminal vesicles with {PELVIS_MARGIN_MM} mm around them; boost: prostate with \
                     {PELVIS_BOOST_MARGIN_MM} mm"
                ),
            }
        }
    };
    if found.target.count() == 0 {
        return Err(PhantomError::NoTarget { missing: "target" });
    }
    found.organs.retain(|(_, organ)| organ.count() > 0);
    Ok(found)
}

fn sphere(tissues: &LabelMap, center: PointLps, radius_mm: f64) -> Mask {
    Mask::new(Volume::from_point_fn(tissues.grid(), |point| point.distance_mm(center) <= radius_mm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PhantomConfig, generate};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn every_site_has_a_target_inside_the_body() -> TestResult {
        for config in [PhantomConfig::head(), PhantomConfig::pelvis()] {
            let case = generate(&PhantomConfig { spacing_mm: [5.0; 3], ..config.clone() }, 3)?;
            let found = structures(config.site, &case.tissues)?;
            let outside = found.target.and(&case.body.complement())?;
            assert_eq!(outside.count(), 0, "{:?}", config.site);
            let volume_cm3 = found.target.volume_cm3();
            assert!((25.0..180.0).contains(&volume_cm3), "{:?}: {volume_cm3} cm³", config.site);
            assert!(found.organs.len() >= 3, "{:?}", found.organs.iter().map(|(name, _)| name));
            if let Some(boost) = &found.boost {
                assert!(boost.and(&found.target.complement())?.count() == 0, "a boost is part of the target");
            }
        }
        Ok(())
    }

    #[test]
    fn a_head_lies_left_front_and_up_and_the_rectum_behind() -> TestResult {
        let at = |mask: &Mask| mask.centroid_lps().ok_or("an empty mask");
        let named = |found: &Structures, wanted: &str| -> Result<PointLps, &'static str> {
            let organ = found.organs.iter().find(|(name, _)| *name == wanted).ok_or("a missing organ")?;
            at(&organ.1)
        };
        let head = generate(&PhantomConfig { spacing_mm: [5.0; 3], ..PhantomConfig::head() }, 4)?;
        let found = structures(Site::Head, &head.tissues)?;
        let (target, cerebellum) = (at(&found.target)?, named(&found, "cerebellum")?);
        assert!(target.x > cerebellum.x + 15.0 && target.y < cerebellum.y && target.z > cerebellum.z);
        let pelvis = generate(&PhantomConfig { spacing_mm: [5.0; 3], ..PhantomConfig::pelvis() }, 4)?;
        let found = structures(Site::Pelvis, &pelvis.tissues)?;
        assert!(named(&found, "rectum")?.y > at(&found.target)?.y + 10.0);
        assert!(named(&found, "bladder")?.y < named(&found, "rectum")?.y);
        assert!(matches!(structures(Site::Pelvis, &head.tissues), Err(PhantomError::NoTarget { .. })));
        Ok(())
    }
}
