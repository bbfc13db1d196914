"""Verification sets of the field: their names, their counts as published, and how to print them."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """A verification set as published.

    Attributes:
        name: Name in tables and folders.
        title: Name as papers print it.
        num_matched: Int. Matched pairs.
        num_mismatched: Int. Mismatched pairs.
        num_folds: Int. Folds of the protocol; 1: none.
        source: Authors, title and year of the publication with these counts.
        far: What papers print: "" for the accuracy in per cent, else the true accept rate at this
            false accept rate.
        kind: "images", "templates" or "videos": what a pair compares.
        aliases: Further names of files and folders, in lower-case letters and digits.

    Example:
        >>> KNOWN_SETS["lfw"].num_pairs
        6000
    """

    name: str
    title: str
    num_matched: int
    num_mismatched: int
    num_folds: int
    source: str
    far: str = ""
    kind: str = "images"
    aliases: tuple[str, ...] = ()

    @property
    def num_pairs(self) -> int:
        """Number of all pairs."""
        return self.num_matched + self.num_mismatched


_SETS = (
    KnownSet(
        *("lfw", "LFW", 3000, 3000, 10),
        "Huang et al., Labeled Faces in the Wild, 2007, View 2",
    ),
    KnownSet(
        *("cfp_ff", "CFP-FF", 3500, 3500, 10),
        "Sengupta et al., Frontal to profile face verification in the wild, WACV 2016",
    ),
    KnownSet(
        *("cfp_fp", "CFP-FP", 3500, 3500, 10),
        "Sengupta et al., Frontal to profile face verification in the wild, WACV 2016",
    ),
    KnownSet(
        *("agedb_30", "AgeDB-30", 3000, 3000, 10),
        "Moschoglou et al., AgeDB, CVPRW 2017, age gaps of 30 years",
        aliases=("agedb",),
    ),
    KnownSet(
        *("calfw", "CALFW", 3000, 3000, 10),
        "Zheng, Deng and Hu, Cross-Age LFW, 2017",
        aliases=("crossagelfw",),
    ),
    KnownSet(
        *("cplfw", "CPLFW", 3000, 3000, 10),
        "Zheng and Deng, Cross-Pose LFW, 2018",
        aliases=("crossposelfw",),
    ),
    KnownSet(
        *("vgg2_fp", "VGG2-FP", 2500, 2500, 10),
        "Cao et al., VGGFace2, 2018; pairs as InsightFace distributes them",
        aliases=("vggface2fp",),
    ),
    KnownSet(
        *("xqlfw", "XQLFW", 3000, 3000, 10),
        "Knoche, Hormann and Rigoll, Cross-quality LFW, 2021",
        aliases=("crossqualitylfw",),
    ),
    KnownSet(
        *("sllfw", "SLLFW", 3000, 3000, 10),
        "Deng et al., Fine-grained face verification: FGLFW database, 2017 (similar-looking LFW)",
        aliases=("fglfw", "similarlookinglfw"),
    ),
    KnownSet(
        *("talfw", "TALFW", 3000, 3000, 10),
        "Zhong and Deng, Towards transferable adversarial attack against deep face recognition, "
        "2020",
        aliases=("transferableadversariallfw",),
    ),
    KnownSet(
        *("ijbb", "IJB-B", 10_270, 8_000_000, 1),
        "Whitelam et al., IARPA Janus Benchmark-B, CVPRW 2017, 1:1 mixed verification",
        far="0.0001",
        kind="templates",
    ),
    KnownSet(
        *("ijbc", "IJB-C", 19_557, 15_638_932, 1),
        "Maze et al., IARPA Janus Benchmark-C, ICB 2018, 1:1 mixed verification",
        far="0.0001",
        kind="templates",
    ),
    KnownSet(
        *("ytf", "YTF", 2500, 2500, 10),
        "Wolf, Hassner and Maoz, Face recognition in unconstrained videos, CVPR 2011",
        kind="videos",
        aliases=("youtubefaces", "youtubefacesdb"),
    ),
)
KNOWN_SETS = {one.name: one for one in _SETS}


def recognize_set(name: str) -> KnownSet | None:
    """Return the set that the name of a file or folder means, without its suffix; None if none.

    Case, signs and words such as "aligned", "pairs" and "112x112" do not matter.

    Example:
        >>> [known and known.name for known in map(recognize_set, ("CFP-FP", "lfw_dev", "IJB_C"))]
        ['cfp_fp', None, 'ijbc']
    """
    plain = re.sub("112x112|112x96|112|align(ed)?|pairs?|images?", "", name.lower())
    plain = re.sub("[^a-z0-9]", "", plain)
    for known in _SETS:
        if plain in (re.sub("[^a-z0-9]", "", known.name), *known.aliases):
            return known
    return None


def count_warnings(known: KnownSet, num_matched: int, num_mismatched: int) -> list[str]:
    """Return a sentence if the counts differ from the published ones.

    Example:
        >>> count_warnings(KNOWN_SETS["lfw"], 3000, 3000)
        []
    """
    if (num_matched, num_mismatched) == (known.num_matched, known.num_mismatched):
        return []
    return [
        f"{known.title} has {known.num_matched:,} matched and {known.num_mismatched:,} mismatched "
        f"pairs as published ({known.source}); here there are {num_matched:,} and "
        f"{num_mismatched:,}, so the result does not compare with that of papers."
    ]
