"""*chaining*: where the pixels of one slice lie on another one, however many slices lie between.

The flows between neighboring slices come in; the displacement from any position to any slice goes out.
"""

from typing import Any

import numpy as np
from jaxtyping import Float16

from medgs_core.arrays import Flow
from medgs_core.cache import RecentlyUsed
from medgs_core.carrying import straight_paths, warp, widen
from medgs_core.correspondence import VARIANTS, Correspondence, Flows

Chain = Float16[np.ndarray, "variants height width 2"]


class Chains:
    """Flows followed from slice to slice, each variant by itself; links are kept while memory lasts.

    Parameters
    ----------
    flows : Flows
        Between the neighboring slices of a stack.
    memory : RecentlyUsed
        Where chains are kept, beside what other users of it keep.
    """

    def __init__(self, flows: Flows, memory: RecentlyUsed[Any]) -> None:
        self.flows = flows
        self.variants = len(VARIANTS[flows.flow])
        self._memory = memory

    def displacements(self, z: float, target: int) -> list[Flow]:
        """Return, for each variant of the flow, where the pixels at position z lie on a slice.

        Parameters
        ----------
        z : float
            Position in the stack, in its unit.
        target : int
            Slice of the stack.

        Returns
        -------
        list of (height, width, 2)
            Displacements (dx, dy) in pixels, on the grid of the slice at z.
        """
        stack = self.flows.stack
        k, alpha = stack.bracket(stack.t_at(z))
        near = k if target <= k else k + 1
        rest = self._between(near, target)
        between = self.flows.between(k)
        links = []
        for variant in range(self.variants):
            one = Correspondence(*(way[variant : variant + 1] for way in (between.forward, between.backward)))
            link = np.zeros((stack.height, stack.width, 2), np.float32)
            for to_first, to_second, share in straight_paths(one, alpha):
                link += np.float32(share) * (to_first if near == k else to_second)
            links.append(link + warp(widen(rest[variant]), link, bounded=True))
        return links

    def _between(self, start: int, target: int) -> Chain:
        """Return where the pixels of one slice lie on another, link by link from the target on."""
        stack = self.flows.stack
        if start == target:
            return np.zeros((self.variants, stack.height, stack.width, 2), np.float16)
        away = 1 if start > target else -1
        chain = self._link(target + away, target)
        for k in range(target + 2 * away, start + away, away):

            def follow(k: int = k, rest: Chain = chain) -> Chain:
                links = [widen(link) for link in self._link(k, k - away)]
                ends = [a + warp(widen(b), a, bounded=True) for a, b in zip(links, rest, strict=True)]
                return np.stack(ends).astype(np.float16)

            chain = self._memory.get(("chain", k, target), follow, lambda made: made.nbytes)
        return chain

    def _link(self, start: int, neighbor: int) -> Chain:
        """Return where the pixels of one slice lie on its neighbor."""
        between = self.flows.between(min(start, neighbor))
        return between.backward if neighbor < start else between.forward
