"""Training against named peers: real frames a second of a whole step (forward, backward, Adam), the same batches for all, in one run.

    pip install torch
    python benchmarks/training.py [--batches 2] [--turns 3] [--epochs 40]

Every peer is a process of its own. They take turns step by step, so a busy machine slows all of them alike; a peer's figure is the median over turns.
CPU time, of all threads, says what a step costs where others keep the cores busy; threads wait passively, so that waiting doesn't count.
"""
import argparse, os, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
import numpy as np
from ser_nbdev.bucketing import BucketIterator, padding_waste

F, BATCH = 20, 128
GROUPS = (('ours', 'keras', 'torch_padded', 'torch_packed', 'random'), ('ours', 'one_loop', 'block', 'stack4', 'intra1', 'no_onednn'))   # peers, then what else was tried
SETTINGS = dict(torch_padded='OMP_WAIT_POLICY=PASSIVE', torch_packed='OMP_WAIT_POLICY=PASSIVE', intra1='INTRA=1 INTER=2', no_onednn='TF_ENABLE_ONEDNN_OPTS=0')
SAYS = dict(ours='bucketed batches, our loop', random='the same, batches drawn at random', keras='Keras Bidirectional(LSTM)', one_loop='our loop, both directions in one', stack4='our loop, 4 frames stacked',
            block="TensorFlow's BlockLSTMV2", intra1='our loop, 1 thread an operation', no_onednn='our loop, without oneDNN', torch_packed='PyTorch, packed', torch_padded='PyTorch, padded, not packed')

class Noise:
    "Features of random content with the lengths of IEMOCAP's utterances."
    def __init__(self, n=7380):
        rng = np.random.default_rng(0)
        self.lengths = (100*np.clip(np.exp(rng.normal(np.log(3.6), .63, n)), .58, 34.1)).astype(int)
    def __len__(self): return len(self.lengths)
    def __getitem__(self, i): return np.random.default_rng(i).normal(size=(self.lengths[i], F)).astype('float32')

def batches(n, shuffled=False, multiple=1):
    "`n` batches at evenly spaced places of an epoch sorted by length; `shuffled`: cut from a random order instead."
    noise = Noise(); rng = np.random.default_rng(1)
    it = BucketIterator(noise, rng.integers(6, size=len(noise)), batch_size=BATCH, multiple=multiple)
    if shuffled: it.plan = np.array_split(rng.permutation(len(noise)), len(it))
    order = sorted(range(len(it)), key=lambda i: noise.lengths[it.plan[i]].max())
    return [it[order[int((k+.5)/n*len(order))]] for k in range(n)], padding_waste(noise.lengths, it.plan)

def torch_step(packed):
    import torch
    from torch import nn
    torch.set_num_threads(2); torch.manual_seed(0)
    lstm, hidden, score, out = nn.LSTM(F, 64, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(128, 64), nn.Linear(64, 1, bias=False), nn.Linear(128, 6)
    adam = torch.optim.Adam([p for m in (lstm, hidden, score, out) for p in m.parameters()], 1e-4)
    def step(x, mask, y):
        x, mask, y = torch.from_numpy(x), torch.from_numpy(mask), torch.from_numpy(y).long()
        if packed: h, _ = nn.utils.rnn.pad_packed_sequence(lstm(nn.utils.rnn.pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False))[0], batch_first=True)
        else: h, _ = lstm(x)
        a = score(torch.tanh(hidden(h)))[...,0].masked_fill(~mask, -1e9).softmax(-1)
        loss = nn.functional.cross_entropy(out(nn.functional.dropout((a[...,None]*h).sum(1), .2)), y)
        adam.zero_grad(); loss.backward(); adam.step()
    return step

def variant(name, model):
    "The model's bidirectional layer, computed in another way."
    from ser_nbdev import fast_lstm
    keras, ops = model.keras, model.ops
    if name=='keras': return keras.layers.Bidirectional
    def parts(self, x, mask):
        m = ops.cast(ops.transpose(mask), 'float32')[...,None]
        return ops.concatenate([ops.transpose(x, (1,0,2)), ops.ones_like(m), 1-m], -1), m, [fast_lstm.fast_lstm_weights(l.cell) for l in (self.forward_layer, self.backward_layer)]
    class OneLoop(model.Bidirectional):
        "Both directions as one LSTM of twice the units, whose weights are block-diagonal gate by gate."
        def call(self, sequences, initial_state=None, mask=None, training=None):
            x, m, w = parts(self, sequences, mask)
            def diagonal(a, b):
                a, b = [ops.reshape(v, (v.shape[0], 4, -1)) for v in (a, b)]
                return ops.reshape(ops.concatenate([ops.pad(a, ((0,b.shape[0]),(0,0),(0,0))), ops.pad(b, ((a.shape[0],0),(0,0),(0,0)))], -1), (a.shape[0]+b.shape[0], -1))
            h = fast_lstm.fast_lstm(ops.concatenate([x, ops.flip(x, 0)], -1), diagonal(w[0][0], w[1][0]), diagonal(w[0][1], w[1][1]), False)
            u = h.shape[-1]//2
            return ops.transpose(ops.concatenate([h[...,:u], ops.flip(h[...,u:], 0)], -1)*m, (1,0,2))
    class Block(model.Bidirectional):
        "TensorFlow's kernel for a whole sequence; a direction backwards reads the time reversed."
        def call(self, sequences, initial_state=None, mask=None, training=None):
            import tensorflow as tf
            x, m, _ = parts(self, sequences, mask)
            def run(cell, x):
                zero, none = tf.zeros((tf.shape(x)[1], cell.units)), tf.zeros((cell.units,))
                shut = ops.pad(ops.full((1, cell.units), -1e9), ((0,0), (0,3*cell.units)))
                W = ops.concatenate([cell.kernel.value, cell.bias.value[None], shut, cell.recurrent_kernel.value], 0)
                return tf.raw_ops.BlockLSTMV2(seq_len_max=tf.cast(tf.shape(x)[0], tf.int64), x=x, cs_prev=zero, h_prev=zero, w=W, wci=none, wcf=none, wco=none, b=tf.zeros((4*cell.units,)), cell_clip=0., use_peephole=False).h
            return ops.transpose(ops.concatenate([run(self.forward_layer.cell, x), ops.flip(run(self.backward_layer.cell, ops.flip(x, 0)), 0)], -1)*m, (1,0,2))
    return dict(one_loop=OneLoop, block=Block).get(name, model.Bidirectional)

def keras_step(name):
    import tensorflow as tf
    if 'INTRA' in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ['INTRA'])); tf.config.threading.set_inter_op_parallelism_threads(int(os.environ['INTER']))
    from ser_nbdev import model
    keras, own = model.keras, model.Bidirectional
    keras.utils.set_random_seed(0); expected = model.build_model(F, dropout_rate=0.)
    model.Bidirectional = variant(name, model)
    keras.utils.set_random_seed(0); same = model.build_model(F, dropout_rate=0.)
    x, mask = np.random.default_rng(0).normal(size=(3,12,F)).astype('float32'), np.arange(12)<np.array([[12],[7],[1]])
    assert np.abs(expected([x, mask]) - same([x, mask])).max()<1e-5, name
    m = model.build_model(F, stack=4 if name=='stack4' else 1)
    model.Bidirectional = own
    m.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return lambda x, mask, y: m.train_on_batch([x, mask], y)

def rss():
    "Resident memory of this process, MB (Linux)."
    return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/1e6

def peer(name, n):
    "Do one step for each line `batch number` that comes in; answer with seconds, real frames and memory."
    todo, _ = batches(n, name=='random', 4 if name=='stack4' else 1)
    step = torch_step(name=='torch_packed') if name.startswith('torch') else keras_step(name)
    (x, mask), y = todo[0]
    for k in (0, 4): step(np.ascontiguousarray(x[:,:60+k]), np.ascontiguousarray(mask[:,:60+k]), y)      # traces, warm-up
    print('ready', flush=True)
    for line in sys.stdin:
        (x, mask), y = todo[int(line)]
        t, cpu = time.perf_counter(), time.process_time(); step(x, mask, y)
        print(time.perf_counter()-t, mask.sum(), rss(), time.process_time()-cpu, flush=True)

def start(name, n):
    env = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL':'3', 'KERAS_BACKEND':'tensorflow', **dict(s.split('=') for s in SETTINGS.get(name, '').split())}
    return subprocess.Popen([sys.executable, __file__, '--peer', name, '--batches', str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)

def ask(p, k):
    p.stdin.write(f'{k}\n'); p.stdin.flush()
    return [float(v) for v in p.stdout.readline().split()]

def compare(names, a):
    "Start the peers, let them take turns, print the table."
    ps = {n:start(n, a.batches) for n in names}
    for n in [n for n,p in ps.items() if p.stdout.readline().strip()!='ready']: print(f'{SAYS[n]}: did not start, left out'); del ps[n]
    took = {n:[] for n in ps}
    for turn in range(a.turns):
        for k in range(a.batches):
            for n,p in ps.items():
                if n!='torch_packed' or turn==k==0: took[n].append((k, *ask(p, k)))
    def rate(n, of, column=1):
        "Real frames a second on the batches that peer `of` did: their frames over the sum of the medians of their times (column 4: CPU time)."
        t, ks = np.array(took[n]), {r[0] for r in took[of]}
        return sum(t[t[:,0]==k,2][0] for k in ks)/sum(np.median(t[t[:,0]==k,column]) for k in ks)
    ratio = {n:rate('ours', n)/rate(n, n) for n in ps}
    print(f'{"":40}{"frames/s":>10}{"ours is":>10}{"by CPU time":>13}')
    for n in ps: print(f'{SAYS[n]:40}{rate(n, n):10,.0f}{ratio[n]:9.2f}x{rate("ours", n, 4)/rate(n, n, 4):12.2f}x{"   on the shortest batch: its time grows with the square of the length" if n=="torch_packed" else ""}', flush=True)
    for n,target in (('torch_packed', 1.3), ('random', 1.5)):
        if n in ps: print(f'ours against {SAYS[n]}: {ratio[n]:.2f}x, target >= {target}: {"met" if ratio[n]>=target else "MISSED"}')
    for p in ps.values(): p.stdin.close(); p.wait()

def noisy(n=192):
    "Features and a corpus table, both of noise."
    import pandas as pd
    index = pd.Index([str(i) for i in range(n)], name='name')
    return Noise(n), pd.DataFrame(dict(emotion=np.random.default_rng(0).choice(['ang','hap','sad','neu'], n), speaker='a', path=[f'{i}.wav' for i in range(n)]), index=index)

def memory(epochs):
    "Resident memory of this process at the end of each epoch of `train`."
    import tempfile
    from ser_nbdev.config import TrainConfig
    from ser_nbdev.train import everything, train
    class Bar:
        seen = []
        def update(self, n=1): self.seen += [rss()]*n
        def set_postfix_str(self, s): pass
    noise, frame = noisy()
    with tempfile.TemporaryDirectory() as d: train(TrainConfig.recipe('quick', stack=8, epochs=epochs), noise, frame, everything(frame), d, bar=Bar())
    m = Bar.seen[1::4]
    print('resident memory every fourth epoch of train(), MB:', ', '.join(f'{x:.0f}' for x in m), '; flat:', 'met' if max(m)<=1.05*m[0] else 'MISSED')

def side_by_side(n=8, epochs=20):
    "Trainings one after the other against as many at once as there are cores, the start of the processes counted in."
    import tempfile
    from ser_nbdev.config import TrainConfig
    from ser_nbdev.parallel import train_all
    from ser_nbdev.train import everything
    noise, frame = noisy(); took = {}
    for jobs in (1, os.cpu_count()):
        with tempfile.TemporaryDirectory() as d:
            begun = time.time(); train_all([(TrainConfig.recipe('quick', stack=8, epochs=epochs, random_seed=s), everything(frame), Path(d)/str(s)) for s in range(n)], noise, frame, jobs)
            took[jobs] = time.time()-begun
    (_, alone), (jobs, beside) = took.items()
    print(f'{n} trainings, {jobs} side by side: {alone/beside:.2f}x as fast as one after the other ({beside:.0f} s, {alone:.0f} s)')

if __name__=='__main__':
    a = argparse.ArgumentParser(description='Training against named peers.')
    a.add_argument('--peer', help=argparse.SUPPRESS)
    a.add_argument('--batches', type=int, default=2, help='batches of an epoch that are used')
    a.add_argument('--turns', type=int, default=3, help='how often each peer does them; PyTorch, packed: the shortest batch, once')
    a.add_argument('--epochs', type=int, default=40, help='epochs of training whose memory is watched')
    a = a.parse_args()
    if a.peer: peer(a.peer, a.batches); sys.exit()
    begun = time.time()
    print(', '.join(f'{p} {version(p)}' for p in ('numpy','tensorflow','keras','torch')), f'; {os.cpu_count()} CPU cores; load {os.getloadavg()[0]:.1f} at the start')
    sizes, waste = batches(a.batches); _, waste_random = batches(a.batches, True)
    print(f'batches of {BATCH}, {F} features, padded to {", ".join(str(x.shape[1]) for (x,_),_ in sizes)} frames; padding over an epoch {waste:.1%}, of random batches {waste_random:.1%}')
    for group in GROUPS: compare(group, a)
    memory(a.epochs); side_by_side()
    print('GPU: not measured, there is none' if not Path('/proc/driver/nvidia').exists() else 'GPU: not measured here')
    print(f'{time.time()-begun:.0f} s; load {os.getloadavg()[0]:.1f} at the end')
