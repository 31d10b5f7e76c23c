"""What viewers of a live stream write: a seeded generator of danmaku, gifts, superchats and notices. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

COMMON = (
    "前排!",
    "来了来了",
    "主播晚上好",
    "哈哈哈哈哈哈",
    "233333",
    "666666",
    "这波操作可以啊",
    "高能预警!!!",
    "前方高能反应",
    "弹幕护体",
    "awsl",
    "泪目了",
    "下次一定",
    "这歌叫什么名字?",
    "你是懂直播的",
    "爷青回",
    "yyds",
    "好家伙,我直接好家伙",
    "主播声音好好听,再唱一首吧",
    "刚下班,终于赶上直播了",
    "かわいい〜",
    "888888",
    "うますぎるwww",
    "草",
    "きたああああ",
    "お疲れさまです!",
    "初見です、よろしくお願いします",
    "この曲めっちゃ好き",
    "待ってました!",
    "音量もう少し上げてほしい",
    "LET'S GOOOO",
    "lol",
    "hello from Berlin",
    "what a play!!",
    "first time here, hi everyone",
    "GG",
    "sound is perfect now, thanks",
    "can you play that one again?",
    "👏👏👏",
    "😂😂😂",
    "🔥🔥🔥",
    "❤️",
    "🎉 恭喜 🎉",
    "すごい✨✨",
    "wwwwwwwwww",
)
NAMES = (
    "小明",
    "夜空中最亮的星",
    "不吃香菜",
    "橘子汽水",
    "江湖夜雨",
    "さくら",
    "ねこまる",
    "タカシ",
    "ゆき",
    "alice",
    "pixel_bear",
    "Jonas",
    "northwind",
    "🐼panda",
)
COLORS = ("#fe0302", "#ffaa02", "#ffd302", "#00cd00", "#89d5ff", "#cc0273", "#9b5de5")
GIFTS = ("辣条", "小心心", "Rocket 🚀", "花束", "ペンライト")
THANKS = ("主播辛苦了,请喝奶茶", "Greetings from the whole office!", "いつも楽しい配信をありがとうございます")
NOTICES = ("欢迎来到直播间,请文明发言", "Be kind to each other", "配信は22時まで続きます")

# Shares of what is not plain danmaku; a busy room sees a gift every ten seconds or so.
GIFT_SHARE = 0.02
SUPERCHAT_SHARE = 0.006
NOTICE_SHARE = 0.004
WHITE_SHARE = 0.7
"""Most people never change the colour."""

BREATH_S = 40.0
"""One swell of the rate, from quiet over busy to quiet: slow enough to be seen, short enough to be waited for."""
BREATH_DEPTH = 0.7

Delivery = Literal["lossy", "reliable"]
Priority = Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True)
class Push:
    """One message for one room, as the push API takes it."""

    room: str
    data: Mapping[str, object]
    delivery: Delivery = "lossy"
    priority: Priority = "normal"


def rate_at(elapsed_s: float, mean_per_s: float) -> float:
    """Return the messages per second at a moment: breathing around the mean, never zero."""
    return mean_per_s * (1 - BREATH_DEPTH * math.cos(math.tau * elapsed_s / BREATH_S))


class Crowd:
    """People in several rooms who write what comes to their minds; the same random source gives the same evening."""

    def __init__(self, rooms: Sequence[str], rng: Random) -> None:
        if not rooms:
            raise ValueError("need at least one room")
        self._rooms = tuple(rooms)
        # Earlier rooms are livelier, as in life.
        self._weights = [1 / (index + 1) for index in range(len(rooms))]
        self._rng = rng

    def __repr__(self) -> str:
        return f"<Crowd rooms={self._rooms}>"

    def pause(self, rate_per_s: float) -> float:
        """Return the seconds until the next message of independent writers who together write `rate_per_s`."""
        return self._rng.expovariate(rate_per_s)

    def next(self) -> Push:
        """Return the next message."""
        room = self._rng.choices(self._rooms, self._weights)[0]
        dice = self._rng.random()
        if dice < GIFT_SHARE:
            return Push(room, self._gift(), "reliable", "high")
        if dice < GIFT_SHARE + SUPERCHAT_SHARE:
            return Push(room, self._superchat(), "reliable", "high")
        if dice < GIFT_SHARE + SUPERCHAT_SHARE + NOTICE_SHARE:
            return Push(room, {"type": "notice", "text": self._rng.choice(NOTICES)}, priority="high")
        return Push(room, self._danmaku())

    def _danmaku(self) -> dict[str, object]:
        plain = self._rng.random() < WHITE_SHARE
        return {
            "type": "danmaku",
            "text": self._rng.choice(COMMON),
            "mode": self._rng.choices(("scroll", "top", "bottom"), (92, 5, 3))[0],
            "color": "#ffffff" if plain else self._rng.choice(COLORS),
            "size": self._rng.choices((25, 18, 36), (90, 6, 4))[0],
            "user": self._person(),
        }

    def _gift(self) -> dict[str, object]:
        gift = self._rng.choice(GIFTS)
        count = self._rng.choice((1, 1, 1, 10, 66))
        user = self._person()
        return {"type": "gift", "text": f"{user['name']}: {gift} × {count}", "gift": gift, "count": count, "user": user}

    def _superchat(self) -> dict[str, object]:
        price = self._rng.choice((30, 50, 100, 500))
        text = self._rng.choice(THANKS)
        return {"type": "superchat", "text": text, "price": price, "currency": "CNY", "user": self._person()}

    def _person(self) -> dict[str, object]:
        index = self._rng.randrange(len(NAMES))
        return {
            "id": f"demo-{index}",
            "name": NAMES[index],
            "role": "member" if index % 5 == 0 else "viewer",
            "level": index + 1,
        }
