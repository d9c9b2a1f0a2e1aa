"""The clocks that a machine can have run by: one IANA zone for each history of offsets since 2014.

Zones that never differed in that time (Sydney, Melbourne) are one clock, named by the city most
people live in; what is here decides ties, so the order is by population. Offsets come from the time
zone database compiled into Polars, not from the machine.
"""

from typing import Final

CLOCKS: Final[tuple[str, ...]] = tuple(
    """
Europe/Berlin Europe/London America/New_York America/Chicago America/Los_Angeles
America/Denver America/Phoenix Asia/Kolkata Asia/Shanghai Asia/Tokyo Asia/Bangkok Asia/Dubai
Asia/Karachi Asia/Dhaka Europe/Moscow Europe/Istanbul Europe/Athens Africa/Lagos
Africa/Johannesburg Africa/Nairobi Africa/Cairo Africa/Casablanca America/Sao_Paulo
America/Bogota America/Argentina/Buenos_Aires America/Mexico_City America/Halifax
America/St_Johns America/Santiago America/Caracas Australia/Sydney Australia/Brisbane
Australia/Adelaide Australia/Darwin Pacific/Auckland Asia/Tehran Asia/Kathmandu Asia/Jerusalem
Asia/Kabul Asia/Yangon Pacific/Honolulu Africa/Abidjan Asia/Vladivostok Antarctica/Casey
Antarctica/Palmer Antarctica/Troll Antarctica/Vostok Pacific/Pago_Pago Australia/Lord_Howe
Australia/Eucla America/Noronha America/Campo_Grande America/Porto_Velho America/Regina
America/Fort_Nelson America/Whitehorse America/Coyhaique Pacific/Easter Asia/Famagusta
Pacific/Kosrae America/Nuuk America/Scoresbysund Pacific/Tarawa Pacific/Kanton
Pacific/Kiritimati Asia/Almaty Asia/Qyzylorda Asia/Ulaanbaatar Asia/Hovd America/Cancun
America/Chihuahua America/Ciudad_Juarez America/Ojinaga America/Mazatlan Pacific/Chatham
Pacific/Marquesas Pacific/Gambier Pacific/Bougainville Asia/Gaza Atlantic/Azores
Europe/Kaliningrad Europe/Simferopol Europe/Volgograd Europe/Astrakhan Europe/Saratov
Asia/Yekaterinburg Asia/Omsk Asia/Novosibirsk Asia/Barnaul Asia/Tomsk Asia/Krasnoyarsk
Asia/Irkutsk Asia/Chita Asia/Yakutsk Asia/Magadan Asia/Sakhalin Asia/Srednekolymsk
America/Anchorage America/Metlakatla America/Adak Africa/Juba Africa/Khartoum Africa/Sao_Tome
Africa/Windhoek America/Asuncion America/Grand_Turk America/Havana America/Miquelon
America/Montevideo America/Port-au-Prince Asia/Amman Asia/Baku Asia/Beirut Asia/Damascus
Asia/Pyongyang Atlantic/Cape_Verde Europe/Chisinau Pacific/Apia Pacific/Fiji Pacific/Norfolk
Pacific/Pitcairn Pacific/Tongatapu
""".split()  # noqa: SIM905
)
