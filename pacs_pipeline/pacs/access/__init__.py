"""When and how hard a site's archive may be asked: calendar, kill switch, budget, pace, circuit breaker."""

from pacs_pipeline.pacs.access.access import Access
from pacs_pipeline.pacs.access.baseline import Usual
from pacs_pipeline.pacs.access.calendar import Calendar, Opening
from pacs_pipeline.pacs.access.circuit import CircuitState
from pacs_pipeline.pacs.access.kill_switch import Stop

__all__ = ["Access", "Calendar", "CircuitState", "Opening", "Stop", "Usual"]
