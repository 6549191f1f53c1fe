"""What a user can ask for: one file a verb, the whole of it in the order in which it happens.

init.py           a domain -> a folder to begin one's own run in
train.py          a recipe -> a run in its directory, with its report
select.py         a pool -> its examples ranked, and training sets of the best
variants.py       examples -> controls: wrong labels, other prompts, in context
evaluate.py       a model, a run or a server -> graded answers to benchmarks
compare.py        two sides of such answers, paired by question
contamination.py  a model -> the questions that it knew beforehand
regrade.py        stored answers -> graded again, without the model
ask.py            one question -> the answers of base and result, side by side
analyse.py        runs -> what happened in them, as tables
report.py         runs -> one HTML file
watch.py          a run or a folder of runs -> the same page, live
runs.py           a folder -> the runs in it, and how each stands
diff.py           a run -> where base and result differ, token by token
extrapolate.py    two steps of a run -> the model on the line through them, beside the real one
study.py          a file of arms, seeds and claims -> runs, intervals and verdicts
doctor.py         a run -> what of it is damaged, and where it can go on
import_model.py   a GGUF file -> a Hugging Face directory, checked
export.py         a recipe -> the same run, written out for another trainer

Beside them what several need:

subjects.py       the model, run or benchmark that a name means, with its settings
loading.py        a model made ready to answer
pool.py           a pool tried by a model: trained over, or asked
forecast.py       a recipe -> the hours and the price of its run
aligning.py       a pool's policy gradients beside a validation set's
mixing.py         a ranking mixed with diversity
training_sets.py  a ranking on disk, and training sets cut from it

A verb finds its inputs, calls one room after the other and returns what came out. Not here: words
and tables of the terminal (`cli`), what every run needs (`running`), where it runs (`backends`).
Rooms that need torch are imported inside the functions: asking for help costs nothing.
"""
