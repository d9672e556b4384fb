"""Fetch, verify and resume the files of a model; the program is `tiergarten-fetch`.

Local mode and the operator use these names and `outcomes`, `layout` and `errors`.
"""

from tiergarten_fetch.errors import FetchError
from tiergarten_fetch.fetching import fetch
from tiergarten_fetch.options import Options
from tiergarten_fetch.results import Doing, File, Progress, Result
from tiergarten_fetch.volumes import locate

__all__ = ["Doing", "FetchError", "File", "Options", "Progress", "Result", "fetch", "locate"]
