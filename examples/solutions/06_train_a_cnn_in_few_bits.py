"""
Train a CNN in few bits: solutions
==================================
"""

import statistics

import lpnet as lp

train, test = lp.data.load("digits")


def errors(precision, lr):
    found = []
    for seed in range(2):
        lp.manual_seed(seed)
        model, loader = lp.models.small_cnn(), lp.data.DataLoader(train, 64, shuffle=True)
        lp.nn.lower(model, precision)
        optimizer = lp.optim.SGD(model.parameters(), lr=lr, momentum=0.9, precision=precision)
        log = lp.fit(model, loader, lp.data.DataLoader(test), epochs=3, optimizer=optimizer, progress=False)
        found.append(log[-1]["test_error"])
    return statistics.mean(found)


# %%
# 1. It learns: the accumulator collects the steps that are too small for so few bits, and the network sees its
# rounded view.

q = lp.Quantizer("bfp4", "nearest")
plain = lp.Precision(weight=q, activation=q, error=q, gradient=q, momentum=q)
wide = lp.Precision(weight=q, activation=q, error=q, gradient=q, momentum=q, accumulator="fp32")
print("test error in %")
print(f"nearest        | {errors(plain, 0.01):.1f}")
print(f"an accumulator | {errors(wide, 0.01):.1f}")

# %%
# 2. It is no worse than stochastic rounding, rather better: steps of a gap and more are not swallowed, and there is
# no noise. But a large rate is for the beginning of a training; it must fall for the end, and then nearest rounding
# stands still.

dice = lp.Precision.uniform("bfp4", "stochastic")
print(f"nearest at rate 0.1    | {errors(plain, 0.1):.1f}")
print(f"stochastic at rate 0.1 | {errors(dice, 0.1):.1f}")
