"""Traces whose trouble is on the card: 6,144 MiB, of which the desktop holds 330.

Constructed, not recorded. Seconds and MiB throughout; the moments that matter are in each `text`.
"""

from dataclasses import replace

from governor.policy.facts import Rung
from tests.benchmarks.curves import Curve, breathing, faster_and_faster, still
from tests.benchmarks.trace_shape import End, Model, Shape, Sign, Trace, bursts

# An agent at the line `cpu`: a seat is held, so a sentinel looks.
CLERK = Model("clerk", 900, used=((0, 900),), memory="ram", load_seconds=0.8)

LEAK = Trace(
    name="slow leak of a neighbour",
    text="6 MiB/s from 60 s to 460 s, given back at 520 s; 400 free at 312 s, 200 at 346 s, nothing at 379 s",
    shape=Shape(
        models=(Model("sorter", 1300, used=((0, 640),)), Model("writer", 2600)),
        neighbour_mib=Curve((60, 0), (460, 2400), (520, 2400), (521, 0)),
    ),
    seconds=640,
    begins_s=312,
    until_s=521,
    end=End.CARD_FULL,
    end_s=379,
    cure=("writer",),
    pressed=("vram",),
    expected=((340, Rung.NORMAL), (350, Rung.TRIM), (370, Rung.EVICT_IDLE), (635, Rung.NORMAL)),
)
GAME = Trace(
    name="a game starts",
    text="4 GiB in 1.5 s from 30 s, faster and faster, beside an idle model of 5 GiB; 814 free, none of it 0.7 s later",
    shape=Shape(
        models=(Model("writer", 5000), CLERK),
        neighbour_mib=Curve((0, 0), *faster_and_faster(30, 1.5, 4096), (90, 4096), (91, 0)),
    ),
    seconds=180,
    begins_s=30,
    until_s=91,
    end=End.CARD_FULL,
    end_s=30.7,
    cure=("writer",),
    pressed=("vram",),
    expected=((29, Rung.NORMAL), (31, Rung.EVICT_IDLE), (175, Rung.NORMAL)),
)
GAME_ALONE = replace(
    GAME,
    name="a game starts, nobody at a desk",
    text="the same while no agent works: no sentinel but that of `hotdesk up`, and the flow every three minutes",
    shape=replace(GAME.shape, models=GAME.shape.models[:1]),
)
NVML_LOST = Trace(
    name="NVML lost under pressure",
    text="15 MiB/s until 160 are free at 110 s; the driver is silent from 112 s to 292 s; on from 300 s, full at 310 s",
    shape=Shape(
        models=(Model("sorter", 1300, used=((0, 440),)), Model("writer", 3900)),
        neighbour_mib=Curve((80, 0), (110, 454), (300, 454), (340, 1094), (360, 1094), (361, 0)),
        unreadable=((112, 292),),
    ),
    seconds=440,
    begins_s=94,
    until_s=361,
    end=End.CARD_FULL,
    end_s=310,
    cure=("writer",),
    pressed=("vram",),
    expected=((95, Rung.NORMAL), (111, Rung.TRIM), (290, Rung.TRIM), (300, Rung.EVICT_IDLE), (435, Rung.NORMAL)),
)
SLACK = Trace(
    name="cache slack",
    text="a process keeps 700 MiB more than its engine accounts for, by 180 s; at 600 s a neighbour wants 450 of it",
    shape=Shape(
        models=(
            Model("writer", 3600, used=bursts(0, 900, 50, 10), slack_mib=Curve((60, 0), (180, 700))),
            Model("sorter", 1100),
        ),
        neighbour_mib=Curve((600, 0), (605, 450), (700, 450), (701, 0)),
    ),
    seconds=900,
    begins_s=148,
    until_s=701,
    end=End.CARD_FULL,
    end_s=605,
    cure=("writer",),
    pressed=("vram",),
    expected=((230, Rung.NORMAL), (270, Rung.EVICT_IDLE), (500, Rung.NORMAL)),
)
KERNEL_SIGN = Trace(
    name="a sign in the kernel's log",
    text="1,514 free, and at 60 s the driver fails to allocate for the desktop; frozen at 180 s unless 3,000 are free",
    shape=Shape(
        models=(
            Model("writer", 2500),
            Model("reader", 900, idle_seconds=300),
            Model("sorter", 900, used=((0, 500),)),
        ),
        sign=Sign(60, "NVRM: Failed to allocate NVKMS memory", grace_s=120, relief_mib=3000),
    ),
    seconds=500,
    begins_s=60,
    until_s=370,
    end=End.NO_DESKTOP,
    end_s=180,
    cure=("writer",),
    pressed=("vram",),
    expected=((59, Rung.NORMAL), (65, Rung.TRIM), (75, Rung.EVICT_IDLE), (495, Rung.NORMAL)),
)
RECOVERY = Trace(
    name="to the top of the ladder and back",
    text="a neighbour takes 10 MiB/s from 40 s to 480 s, more than an idle and a busy model hold, and ends at 500 s",
    shape=Shape(
        models=(Model("writer", 2600), Model("sorter", 2400, used=((0, 700),))),
        neighbour_mib=Curve((40, 0), (480, 4400), (500, 4400), (501, 0)),
    ),
    seconds=720,
    begins_s=81,
    until_s=501,
    end=End.CARD_FULL,
    end_s=121.4,
    cure=("writer", "sorter"),
    pressed=("vram",),
    expected=(
        (100, Rung.NORMAL),
        (110, Rung.TRIM),
        (120, Rung.EVICT_IDLE),
        (385, Rung.FORCE_EVICT),
        (715, Rung.NORMAL),
    ),
)
NIGHT = Trace(
    name="night falls",
    text="270 stay free: enough by day; night begins at 120 s, and at 300 s its backup wants 320 of them",
    shape=Shape(
        models=(Model("writer", 4200), Model("sorter", 1300, used=((0, 600),))),
        desktop_mib=still(374),
        neighbour_mib=Curve((300, 0), (302, 320), (400, 320), (401, 0)),
        night_from_s=120,
    ),
    seconds=600,
    begins_s=0,
    until_s=401,
    end=End.CARD_FULL,
    end_s=301.7,
    cure=("writer",),
    pressed=("vram",),
    expected=((115, Rung.NORMAL), (125, Rung.TRIM), (140, Rung.EVICT_IDLE), (250, Rung.NORMAL)),
)
BUSY_DAY = Trace(
    name="a calm busy day",
    text="our own loads and unloads, a desktop that breathes by 60 MiB; about 420 free when two models are in",
    shape=Shape(
        models=(
            Model("writer", 3400, used=((10, 60), (200, 260), (420, 500)), leaves_s=(100, 300, 520)),
            Model("sorter", 1964, used=((5, 90), (130, 180), (210, 280), (430, 560)), leaves_s=(185,)),
            Model("reader", 2900, used=((110, 170), (310, 400)), loaded=False, leaves_s=(175, 410)),
            CLERK,
        ),
        desktop_mib=breathing(360, 30, 14, 600),
    ),
    seconds=600,
    expected=tuple((at_s, Rung.NORMAL) for at_s in (20, 65, 205, 300, 450, 599)),
)
FAST_LOAD = Trace(
    name="a healthy load",
    text="at 30 s a model of 5.4 GiB fills an empty card in 0.7 s; 424 stay free; again at 120 s",
    shape=Shape(
        models=(
            Model("writer", 5390, used=((30, 80), (120, 170)), loaded=False, load_seconds=0.7, leaves_s=(90,)),
            CLERK,
        )
    ),
    seconds=240,
    expected=((31, Rung.NORMAL), (60, Rung.NORMAL), (121, Rung.NORMAL), (239, Rung.NORMAL)),
)
SHORT_BURST = Trace(
    name="a neighbour that stops in time",
    text="an editor takes 1.2 GiB in 0.6 s at 60 s; 1,014 stay free",
    shape=Shape(
        models=(Model("writer", 3600), CLERK),
        neighbour_mib=Curve((60, 0), (60.6, 1200), (180, 1200), (181, 0)),
    ),
    seconds=240,
    expected=((62, Rung.NORMAL), (239, Rung.NORMAL)),
)
CARDS = (
    LEAK,
    GAME,
    GAME_ALONE,
    NVML_LOST,
    SLACK,
    KERNEL_SIGN,
    RECOVERY,
    NIGHT,
    BUSY_DAY,
    FAST_LOAD,
    SHORT_BURST,
)
