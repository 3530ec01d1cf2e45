# PointAD and PointAD+ from raw scans to the paper's tables.
#
#   raw scans -> clouds -> renders -> features -> aggregation -> prompts -> scores -> metrics -> tables
#
# Where results lie (logs/ and benchmarks/ mirror it):
#
#   results/generated/{dataset}/...                                            raw scans of a generated data set
#   results/clouds/{dataset}/{category}{shard}.zarr.zip                        shard: nothing, or /01 and the like
#   results/renders/{rendering}/{dataset}/{category}{shard}.zarr.zip           where the category is split
#   results/features/{features}/{dataset}/{category}{shard}.zarr.zip
#   results/aggregation/{aggregation}/{features}/{dataset}/{category}{shard}.zarr.zip
#   results/prompts/{method}/{dataset}/{auxiliary}/{seed}.safetensors          and .csv, the loss curve
#   results/experts/{method}/{dataset}/{category}/{seed}.safetensors           of an unsupervised system: what it has
#                                                                              learnt of a train split, {dataset}.train
#   results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip     prompts of source/auxiliary/seed
#   results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}{shard}.zarr.zip   its parts: shards, or
#                                                                              one category, for its heat maps alone
#   results/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.csv         (a system without: none/none/0;
#                                                                              unsupervised: {dataset}.train/each)
#   results/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.npz         the same with scans drawn anew
#   results/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.png
#   results/predictions/{prediction}{shard}/...                                a folder of the user's own scans
#   results/predictions/{prediction}.csv                                       and the table of all of them
#   results/viewers/{dataset}/{category}.html                                  every method's scores on scans to turn
#   results/summary/{dataset}/{auxiliary}.csv                                  one auxiliary split, one-vs-rest
#   results/summary/{dataset}.csv                                              mean over the splits of a data set
#   results/tables/table{1,2,3,4}.{tex,csv}, results/tables/tables.tex
#   results/tables/differences{1,2,3,4}.csv                                    between any two methods
#   results/tables/overhead.{tex,csv}                                          Table 5, where the config asks for it
#   results/tables/{ablation}.{tex,csv}                                        Tables 6-10, and ablations of one's own
#   results/figures/{figure}.{pdf,png}                                         .tex and .txt: caption; .csv: what is shown
#   results/figures/figures.tex                                                all of them
#   results/overhead/{method}/{dataset}/{category}.csv                         what a scan costs: measured times
#   results/report/...                                                         pages and pictures for the report
#
# A method, data set, rendering, ... whose name has "--" is made by a row of an ablation (pointad_plus--epochs-5). A
# variant's clouds, renders, features and aggregation lie under its original's name as long as they are made alike.
#
# The config is described in config/README.md. The embedded default is read only where no --configfile is given, so
# that a config file stands for itself and is not mixed with it.
from snakemake.utils import min_version

min_version("9.27")

if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/clouds.smk"
include: "workflow/rules/renders.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/aggregation.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/experts.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/overhead.smk"
include: "workflow/rules/heatmaps.smk"
include: "workflow/rules/predictions.smk"
include: "workflow/rules/viewers.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/report.smk"


onstart:
    hold_folder()
    show_lines(workflow.output_settings)


onsuccess:
    show_results()


localrules:
    all,


rule all:
    """The tables, the summaries they come from, and what the report shows of them."""
    default_target: True
    input:
        rules.all_report.input,
