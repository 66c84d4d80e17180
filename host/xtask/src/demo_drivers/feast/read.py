"""A stock Feast client: reads drivers' features from the online store.

read.py PROJECT_DIR DRIVER…
"""

import os
import sys
import warnings

warnings.filterwarnings("ignore")
# Nobody is told that it was used.
os.environ["FEAST_USAGE"] = "False"
os.chdir(sys.argv[1])
sys.path.insert(0, ".")

import features  # noqa: E402
from feast import FeatureStore  # noqa: E402

store = FeatureStore(repo_path=".")
store.apply([features.driver, features.stats])
answer = store.get_online_features(
    features=["driver_hourly_stats_stream:conv_percentage", "driver_hourly_stats_stream:acc_percentage"],
    entity_rows=[{"driver_id": int(driver)} for driver in sys.argv[2:]],
).to_dict()
print(answer)
if None in answer["conv_percentage"]:
    sys.exit("Feast does not find every driver")
