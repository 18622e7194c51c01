"""Many trainings as one program on one GPU.

The models of a benchmark differ in fold, seed and normalisation alone, and each is too small to keep
a GPU busy. Keras on JAX does the arithmetic of all of them at once: `jax.vmap` over their weights.
Layers, optimiser, batches, their order and what is drawn are the package's own; the rounding and
the random numbers of dropout are JAX's. Features stay on the GPU; a batch is gathered there.

    KERAS_BACKEND=jax python benchmarks/accuracy.py --at_once …
    KERAS_BACKEND=jax python benchmarks/robustness.py --at_once …
    KERAS_BACKEND=jax python benchmarks/at_once.py   # the same numbers as the package's own loop?
"""
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ser_nbdev.altered_copies import altered_copies
from ser_nbdev.augment import background_share
from ser_nbdev.bucketing import BucketIterator, pad_batch
from ser_nbdev.config import TrainConfig
from ser_nbdev.console import console
from ser_nbdev.corpora import read_corpus
from ser_nbdev.demo import demo_corpus
from ser_nbdev.folds import assert_no_leak, folds
from ser_nbdev.labels import CorpusError, in_vocabulary_order
from ser_nbdev.normalise import EndToEnd, fit_cmvn, statistics_rows
from ser_nbdev.store import extract_corpus

def check_backend():
    "Refuse another backend than JAX."
    if os.environ.get('KERAS_BACKEND') != 'jax':
        raise CorpusError('--at_once is for Keras on JAX: set KERAS_BACKEND=jax')

class Drawn:
    "What the package's augmentation draws for an utterance, in numbers of rows."
    def __init__(self, iterator, config, n_copies):
        self.it, self.config, self.n_copies = iterator, config, n_copies

    def version(self, i):
        "0, or the number of an altered copy: as `Augmented.drawn`."
        if not self.config.altered:
            return 0
        rng = np.random.default_rng([self.it.seed, self.it.epoch, int(i), 1])
        return 1 + rng.integers(self.n_copies) if rng.random() < self.config.altered else 0

    def __call__(self, i):
        "Its version, the utterance in the background, that one's version and share."
        if not self.config.mix:
            return self.version(i), i, 0, 0.
        rng = np.random.default_rng([self.it.seed, self.it.epoch, int(i)])
        other = int(rng.choice(self.it.rows))
        return self.version(i), other, self.version(other), background_share(rng, self.config.mix)

class Statistics:
    "Mean and deviation of every group of recordings: a number for each task, version and row."
    def __init__(self, tasks, frame):
        self.tasks, self.frame, self.table, self.known = tasks, frame, [], {}

    def add(self, key, views, rows, groups):
        "Number of the group of each row of one view."
        if key not in self.known:
            joined = EndToEnd(views)
            every = None if rows is None else joined.rows(rows)
            cmvn = fit_cmvn(joined, every, groups and groups*len(views))
            names = groups or [None]*len(self.frame)
            number = {name: len(self.table) + k for k, name in enumerate(cmvn.stats)}
            self.table += [np.stack(pair) for pair in cmvn.stats.values()]
            self.known[key] = np.array([number[name] for name in names])
        return self.known[key]

    def of_training(self, views):
        "`(n_tasks, n_versions, n_rows)`"
        found = np.zeros((len(self.tasks), len(views), len(self.frame)), np.int32)
        for k, (config, fold, _) in enumerate(self.tasks):
            rows, groups = statistics_rows(config.normalise, self.frame, fold.train)
            if config.normalise == 'speaker':
                for v, view in enumerate(views):
                    found[k, v] = self.add(('speaker', v), [view], rows, groups)
            else:
                heard = views if config.altered else views[:1]
                found[k] = self.add((fold.name, len(heard)), heard, rows, groups)
        return found

    def of_test(self, features, trained, name):
        "`(n_tasks, n_rows)`: each speaker's own are those of what is tested."
        found = trained[:, 0].copy()
        for k, (config, fold, _) in enumerate(self.tasks):
            if config.normalise == 'speaker':
                rows, groups = statistics_rows('speaker', self.frame, fold.train)
                found[k] = self.add(('speaker', name), [features], rows, groups)
        return found

def joined_fold(config, fold):
    "Validation rows train, too, as the recipes have it."
    if not config.join_validation:
        raise CorpusError('--at_once is for recipes with join_validation')
    rows = np.sort(np.append(fold.train, fold.valid))
    return replace(fold, train=rows, valid=fold.valid[:0])

class Together:
    "Trainings that share features, table and architecture."
    def __init__(self, tasks, features, frame):
        check_backend()
        import jax.numpy as jnp
        from ser_nbdev.devices import fresh_model, make_optimiser
        self.tasks = [(config, joined_fold(config, fold), out) for config, fold, out in tasks]
        for _, fold, _ in self.tasks:
            assert_no_leak(frame, fold)
        self.frame, self.config = frame, self.tasks[0][0]
        if any(config.epochs != self.config.epochs for config, *_ in self.tasks):
            raise CorpusError('--at_once: all models have to train for the same epochs')
        self.classes = in_vocabulary_order(frame.emotion)
        self.labels = frame.emotion.map(self.classes.index).to_numpy()
        copies = altered_copies(features) if self.config.altered else []
        self.views = [[np.asarray(x) for x in view] for view in (features, *copies)]
        self.statistics = Statistics(self.tasks, frame)
        self.groups = self.statistics.of_training(self.views)
        self._make_blocks()
        n_features = self.blocks.shape[-1]
        models = {config.random_seed: fresh_model(config, n_features, len(self.classes))
                  for config, *_ in self.tasks}
        self.model = next(iter(models.values()))
        self.optimiser = make_optimiser(self.config)
        self.optimiser.build(self.model.trainable_variables)
        chosen = [models[config.random_seed] for config, *_ in self.tasks]
        def stacked(name):
            return [jnp.stack([v.value for v in same])
                    for same in zip(*(getattr(m, name) for m in chosen))]
        self.weights = stacked('trainable_variables')
        self.state = stacked('non_trainable_variables')
        if self.config.functionals:
            self._adapt()

    def _make_blocks(self):
        "Features on the GPU, `(n_versions, n, T, F)`."
        import jax.numpy as jnp
        longest = max(len(x) for view in self.views for x in view)
        pairs = [pad_batch(view, self.config.stack, longest) for view in self.views]
        self.lengths = np.stack([mask.sum(1) for _, mask in pairs])
        self.blocks = jnp.stack([jnp.asarray(block) for block, _ in pairs])

    def _adapt(self):
        "Centre and width of the functionals of each task."
        import jax.numpy as jnp
        from ser_nbdev.layers import utterance_statistics
        names = [v.path.rsplit('/', 2)[-2:] for v in self.model.non_trainable_variables]
        centre, width = (names.index(['functionals', what]) for what in ('centre', 'width'))
        known, found = {}, []
        for k, (config, fold, _) in enumerate(self.tasks):
            versions = range(len(self.views) if config.altered else 1)
            key = tuple(self.groups[k][:len(versions)].ravel()), fold.name
            if key not in known:
                rows = []
                for v in versions:
                    for i in fold.train:
                        mean, std = self.statistics.table[self.groups[k, v, i]]
                        x = ((self.views[v][i] - mean)/std).astype(np.float64)
                        rows.append(utterance_statistics(x, np.ones((len(x), 1)), np))
                known[key] = np.mean(rows, 0), np.std(rows, 0) + 1e-4
            found.append(known[key])
        for place, values in zip((centre, width), zip(*found)):
            self.state[place] = jnp.asarray(np.stack(values), jnp.float32)

    # ---- one step

    def _batch(self, blocks, lengths, table, groups, versions, rows):
        "Normalised frames of some rows of one task, and their mask."
        import jax.numpy as jnp
        statistics = table[groups[versions, rows]]
        mean, std = statistics[:, 0, None], statistics[:, 1, None]
        mask = jnp.arange(blocks.shape[2]) < lengths[versions, rows][:, None]
        return jnp.where(mask[..., None], (blocks[versions, rows] - mean)/std, 0), mask

    def _frames(self, data, groups, batch):
        "The frames of a batch, with another voice over each."
        import jax.numpy as jnp
        x, mask = self._batch(*data, groups, batch['version'], batch['row'])
        if self.config.mix:
            other, there = self._batch(*data, groups, batch['other_version'], batch['other'])
            share = batch['share'][:, None, None]
            x = (1 - share)*x + jnp.where((mask & there)[..., None], share*other, 0)
        return x, mask

    def _step(self, data, groups, weights, state, optimiser, batch):
        "One step of one task; a batch of nothing changes nothing."
        import jax
        import jax.numpy as jnp
        x, mask = self._frames(data, groups, batch)
        labels = jnp.asarray(self.labels)[batch['row']]

        def loss(weights, state):
            logits, state = self.model.stateless_call(weights, state, [x, mask], training=True)
            losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
            return jnp.sum(losses*batch['weight'])/jnp.maximum(batch['size'], 1), state

        (value, new_state), gradients = jax.value_and_grad(loss, has_aux=True)(weights, state)
        new_weights, new_optimiser = self.optimiser.stateless_apply(
            optimiser, gradients, weights)
        some = batch['size'] > 0
        kept = [jnp.where(some, new, old) for new, old in zip(
            (*new_weights, *new_state, *new_optimiser), (*weights, *state, *optimiser))]
        n, m = len(weights), len(weights) + len(state)
        return kept[:n], kept[n:m], kept[m:], value

    # ---- all steps

    def _plans(self, epoch):
        "The batches of every task in an epoch, as arrays `(n_batches, n_tasks, B)`."
        plans = []
        for iterator in self.iterators:
            iterator.set_epoch(epoch)
            plans.append(iterator.plan)
        shape = max(map(len, plans)), len(plans), max(len(b) for plan in plans for b in plan)
        arrays = {name: np.zeros(shape, np.int32)
                  for name in ('version', 'row', 'other', 'other_version')}
        arrays |= {name: np.zeros(shape, np.float32) for name in ('share', 'weight')}
        arrays['size'] = np.zeros(shape[:2], np.float32)
        names = 'version', 'other', 'other_version', 'share'
        for k, plan in enumerate(plans):
            for b, rows in enumerate(plan):
                n = len(rows)
                for name, values in zip(names, zip(*map(self.drawn[k], rows))):
                    arrays[name][b, k, :n] = values
                arrays['row'][b, k, :n] = rows
                arrays['weight'][b, k, :n] = self.class_weights[k][self.labels[rows]]
                arrays['size'][b, k] = n
        return arrays

    def _prepare(self):
        "An iterator, class weights and draws for each task."
        from ser_nbdev.train import class_weights_of
        self.iterators, self.drawn, self.class_weights = [], [], []
        for config, fold, _ in self.tasks:
            iterator = BucketIterator(
                self.views[0], self.labels, fold.train, batch_size=config.batch_size,
                n_buckets=config.n_buckets, strategy=config.strategy, seed=config.random_seed)
            weights = np.ones(len(self.classes), np.float32)
            if config.class_weights:
                found = class_weights_of(self.labels[fold.train])
                weights[:len(found)] = found
            self.iterators.append(iterator)
            self.drawn.append(Drawn(iterator, config, len(self.views) - 1))
            self.class_weights.append(weights)

    def fit(self):
        "Train all of them to their last epoch."
        import jax
        import jax.numpy as jnp
        from ser_nbdev.train import learning_rate
        self._prepare()
        data = self.blocks, jnp.asarray(self.lengths), jnp.asarray(np.stack(self.statistics.table))
        groups, n = jnp.asarray(self.groups), len(self.tasks)
        optimiser = [jnp.repeat(v.value[None], n, 0) for v in self.optimiser.variables]
        rate = [v.path for v in self.optimiser.variables].index(self.optimiser.learning_rate.path)
        step = jax.jit(jax.vmap(self._step, in_axes=(None, 0, 0, 0, 0, 0)))
        for epoch in tqdm(range(self.config.epochs), unit='epoch', leave=False):
            optimiser[rate] = jnp.asarray(
                [learning_rate(config, epoch) for config, *_ in self.tasks], jnp.float32)
            arrays = self._plans(epoch)
            for b in range(len(arrays['row'])):
                batch = {name: values[b] for name, values in arrays.items()}
                self.weights, self.state, optimiser, _ = step(
                    data, groups, self.weights, self.state, optimiser, batch)
        if self.config.weight_average:
            self.weights = [value for value, v in zip(optimiser, self.optimiser.variables)
                            if v.path.endswith('_average')]
        return self

    def probabilities(self, features=None, name='as trained', at_once=32):
        "Of each task's test rows, in their order: a list of `(n_rows, n_classes)`."
        import jax
        import jax.numpy as jnp
        features = self.views[0] if features is None else features
        groups = jnp.asarray(self.statistics.of_test(features, self.groups, name))
        block, mask = pad_batch(features, self.config.stack, self.blocks.shape[2])
        data = (jnp.asarray(block)[None], jnp.asarray(mask.sum(1))[None],
                jnp.asarray(np.stack(self.statistics.table)))
        if not hasattr(self, '_score'):
            def score(data, groups, weights, state, rows):
                x, mask = self._batch(*data, groups[None], 0*rows, rows)
                logits, _ = self.model.stateless_call(weights, state, [x, mask], training=False)
                return jax.nn.softmax(logits)
            self._score = jax.jit(jax.vmap(score, in_axes=(None, 0, 0, 0, 0)))
        tests = [fold.test for _, fold, _ in self.tasks]
        longest = -(-max(map(len, tests))//at_once)*at_once
        rows = np.stack([np.pad(test, (0, longest - len(test)), mode='edge') for test in tests])
        found = np.concatenate([
            np.asarray(self._score(data, groups, self.weights, self.state, rows[:, i:i+at_once]))
            for i in range(0, longest, at_once)], 1)
        return [p[:len(test)] for p, test in zip(found, tests)]

    def runs(self):
        "What accuracy.py reads of a run."
        found = []
        for (_, fold, _), p in zip(self.tasks, self.probabilities()):
            tested = self.frame.iloc[fold.test]
            table = pd.DataFrame(dict(name=tested.index, speaker=tested.speaker.to_numpy(),
                                      truth=tested.emotion.to_numpy()))
            numbers = pd.DataFrame(p.round(6), columns=self.classes)
            found.append(SimpleNamespace(
                predictions=pd.concat([table, numbers], axis=1), classes=self.classes))
        return found

def train_together(tasks, features, frame):
    "As `train_all`, in one program; nothing is kept in the runs' folders."
    return Together(tasks, features, frame).fit().runs()

# ---- the same as one by one?

def compare(folder):
    "Largest difference of a probability from the package's own training; dropout is off."
    from ser_nbdev.train import train
    frame = read_corpus('iemocap', demo_corpus())
    frame = frame[frame.emotion.isin(['ang', 'sad', 'neu'])].groupby('speaker').head(12)
    store = extract_corpus(frame, 'speech_lld43', folder/'features')
    settings = dict(epochs=2, functionals=0, dropout_rate=0., input_dropout=0., layer_dropout=0.)
    first = folds(store.frame, by='speaker')[0]
    tasks = [(TrainConfig.recipe('robust', normalise=normalise, **settings), first,
              folder/normalise) for normalise in ('global', 'speaker')]
    together = train_together(tasks, store, store.frame)
    for one, (config, *rest) in zip(together, tasks):
        alone = train(config, store, store.frame, *rest).predictions
        difference = one.predictions[one.classes] - alone[one.classes]
        print(f'{config.normalise}: {len(alone)} recordings, {len(one.classes)} classes, largest '
              f'difference {difference.abs().to_numpy().max():.1e}')

def main():
    with console('at_once'), tempfile.TemporaryDirectory() as folder:
        check_backend()
        compare(Path(folder))

if __name__ == '__main__':
    main()
