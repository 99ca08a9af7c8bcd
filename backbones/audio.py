"""The log-mel front end of the networks that read sound: computed once per split, with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backbones.errors import BackboneError
from backbones.samples import Clips, Inputs, Rows

FLOOR = 1e-6
"""Added before the logarithm, so that silence is a number."""


@dataclass(frozen=True, slots=True)
class LogMel:
    """Log-mel spectrogram of a clip: ln(M |STFT(x)| + 1e-6), float32 [frames, mels].

    x is int16 / 32768, cut or zero-padded to `seconds` around its middle; the STFT has a periodic Hann window of
    `window_ms` every `hop_ms` and no padding of its own, frames = 1 + (samples - window) // hop; M are `mels` triangles
    on the HTK mel scale, equally spaced between `low_hz` and `high_hz`, not normalised by area.

    At 16 kHz the published notebook takes 25 ms windows every 10 ms, 1,024-point transforms and 64 bands in
    60-7,800 Hz. At 8 kHz there is half the band, hence 32 bands in 60-3,900 Hz and 512 points; the hop is 20 ms, so
    that one second is 49 frames and two cores can train on it.

    *Reference:* Saeed 2022 (Binary Early-Exit Network), the notebook of the repository.

    Attributes:
        rate: samples a second that clips must have.
        seconds: length that every clip is brought to.
        mels: bands.
        window_ms: length of a frame.
        hop_ms: from frame to frame.
        low_hz: lower end of the first band.
        high_hz: upper end of the last band; None: 3,900 Hz at 8 kHz, and in proportion at other rates.
    """

    rate: int = 8000
    seconds: float = 1.0
    mels: int = 32
    window_ms: float = 25.0
    hop_ms: float = 20.0
    low_hz: float = 60.0
    high_hz: float | None = None

    def __post_init__(self) -> None:
        if self.rate < 1 or self.mels < 1 or self.hop_ms <= 0 or self.hop < 1:
            raise BackboneError(
                f"a log-mel front end cannot have {self.rate} Hz, {self.mels} bands and a hop of {self.hop_ms:g} ms: "
                "all must be positive, and a hop at least one sample."
            )
        if not 2 <= self.window <= self.samples:
            raise BackboneError(
                f"a clip of {self.seconds:g} s has no room for a window of {self.window_ms:g} ms at {self.rate} Hz: "
                "take longer clips or a shorter window (two samples at least)."
            )
        if not 0 <= self.low_hz < self.top_hz <= self.rate / 2:
            raise BackboneError(
                f"mel bands from {self.low_hz:g} to {self.top_hz:g} Hz are not inside 0..{self.rate / 2:g} Hz, what "
                f"{self.rate} Hz can hold: choose others."
            )

    @property
    def samples(self) -> int:
        """Samples of a clip after cutting or padding."""
        return round(self.seconds * self.rate)

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return round(self.window_ms * self.rate / 1000)

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return round(self.hop_ms * self.rate / 1000)

    @property
    def points(self) -> int:
        """Points of the Fourier transform: at least twice the window, a power of two."""
        return 1 << (2 * self.window - 1).bit_length()

    @property
    def top_hz(self) -> float:
        """Upper end of the last band."""
        return 0.4875 * self.rate if self.high_hz is None else self.high_hz

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return 1 + (self.samples - self.window) // self.hop

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Int16 [n] -> float32 [frames, mels]."""
        return self._spectrogram(wave, mel_bands(self))

    def _spectrogram(self, wave: np.ndarray, bands: np.ndarray) -> np.ndarray:
        fitted = fit(wave, self.samples).astype(np.float64) / 32768.0
        frames = np.lib.stride_tricks.sliding_window_view(fitted, self.window)[:: self.hop]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        magnitude = np.abs(np.fft.rfft(frames * hann, n=self.points, axis=1))
        spectrogram: np.ndarray = np.log(magnitude @ bands + FLOOR).astype(np.float32)
        return spectrogram

    def many(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """N clips -> float32 [N, 1, frames, mels]."""
        bands = mel_bands(self)
        table = np.empty((len(waves), 1, self.frames, self.mels), dtype=np.float32)
        for row, wave in enumerate(waves):
            table[row, 0] = self._spectrogram(wave, bands)
        return table


def fit(wave: np.ndarray, length: int) -> np.ndarray:
    """The middle `length` samples of a long clip; a short one between zeros, the odd zero behind it."""
    if len(wave) >= length:
        start = (len(wave) - length) // 2
        return wave[start : start + length]
    before = (length - len(wave)) // 2
    return np.pad(wave, (before, length - len(wave) - before))


def mel_bands(front_end: LogMel) -> np.ndarray:
    """Triangles [points / 2 + 1, mels]: rising to 1 at a band's centre and falling to 0 at its neighbours' centres.

    mel(f) = 2595 log10(1 + f / 700); the constant bin has no weight.

    Raises:
        BackboneError: a band is so narrow that no bin of the transform falls into it.
    """
    frequencies = np.arange(front_end.points // 2 + 1) * front_end.rate / front_end.points
    edges = np.linspace(_mel(front_end.low_hz), _mel(front_end.top_hz), front_end.mels + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    mels = _mel(frequencies)[:, None]
    rising, falling = (mels - lower) / (centre - lower), (upper - mels) / (upper - centre)
    bands: np.ndarray = np.clip(np.minimum(rising, falling), 0.0, None)
    bands[0] = 0.0
    empty = np.flatnonzero(bands.sum(axis=0) == 0)
    if len(empty):
        raise BackboneError(
            f"mel band {empty[0] + 1} of {front_end.mels} is narrower than the resolution of {front_end.points} points "
            f"at {front_end.rate} Hz: take fewer bands or longer windows."
        )
    return bands


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0))


class AudioSamples:
    """The spectrograms of one split, computed when it is made: float32 [N, 1, frames, mels]."""

    def __init__(self, clips: Clips, front_end: LogMel) -> None:
        """Check the clips and compute their spectrograms.

        Raises:
            BackboneError: clips have another rate than the front end, one is empty, or is not int16 mono.
        """
        if clips.rate != front_end.rate:
            raise BackboneError(
                f"clips have {clips.rate} samples a second, but this network reads {front_end.rate}: resample them, or "
                f"build the network with rate={clips.rate}."
            )
        for row, wave in enumerate(clips.waves):
            if wave.ndim != 1 or wave.dtype != np.int16:
                raise BackboneError(
                    f"clip {row} has shape {list(wave.shape)} and type {wave.dtype}, but a network reads mono int16 "
                    "[samples]: mix the channels and scale to 16 bits."
                )
            if not len(wave):
                raise BackboneError(f"clip {row} is empty: remove it, a spectrogram needs at least one sample.")
        self._log_mel = torch.from_numpy(front_end.many(clips.waves))

    @property
    def lengths(self) -> np.ndarray | None:
        """None: all clips are brought to one length."""
        return None

    def __len__(self) -> int:
        return len(self._log_mel)

    def batch(self, rows: Rows) -> Inputs:
        """`log_mel` [B, 1, frames, mels]."""
        return {"log_mel": self._log_mel[torch.as_tensor(np.asarray(rows, dtype=np.int64))]}
